//! Compiling C skeletons: ours with every compiler and libbpf, and beside the reference's.
//!
//! For each of the project's objects one program is written against the header. It prints the
//! offset of every member and the size of every variable, and names every function. Compiled
//! with our header and with the reference's it has to print the same; with ours it has to compile
//! without a warning, as C and as C++, against the headers of libbpf 1.7 and 1.8.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use bpfseal::loader::Form;
use bpfseal::object::{Object, object_name};
use bpfseal::seal::{Certificate, Scheme, SigningKey};
use bpfseal::{RunningHost, Sealer, make_loader};

use crate::project;
use crate::reference::{self, Reference};

/// Compilers and how they are asked for a language.
const COMPILERS: [(&str, &str, &str); 2] = [("gcc", "c", "-std=c99"), ("g++", "c++", "-std=c++17")];

/// Folders of headers, for `-isystem`.
struct Headers {
    version: &'static str,
    folders: Vec<PathBuf>,
}

pub(crate) fn run(reference: &Reference) -> anyhow::Result<()> {
    for (compiler, ..) in COMPILERS {
        if !project::has(compiler) {
            bail!("`{compiler}` is needed to compile headers: apt-get install gcc g++");
        }
    }
    let all = [libbpf_1_7()?, libbpf_1_8()?];
    let folder = project::target().join("headers");
    std::fs::create_dir_all(&folder)?;
    let keys = project::root().join("testdata/keys");
    let (key, certificate) = (keys.join("rsa2048.key.pem"), keys.join("rsa2048.cert.pem"));
    let sign = (key.as_path(), certificate.as_path());
    // The other byte order has the same declarations.
    let root = project::objects();
    let other = |path: &PathBuf| {
        let relative = path.strip_prefix(&root).unwrap_or(path);
        relative.starts_with("refused") || relative.starts_with("big-endian")
    };
    let mut objects = project::objects_in(&root)?;
    objects.retain(|path| !other(path));
    let subjects: Vec<_> = objects
        .iter()
        .flat_map(|object| [(object, None), (object, Some(sign))])
        .collect();
    let results = project::in_parallel(&subjects, |(object, sign)| {
        one(reference, &folder, &all, object, *sign)
    });
    let mut compared = 0;
    for ((object, _), result) in subjects.iter().zip(results) {
        match result.with_context(|| object.display().to_string())? {
            None => {}
            Some(Layout::Same) => compared += 1,
            Some(Layout::TheirsDoesNotCompile(why)) => {
                println!("  ours compiles, the reference's does not: {why}");
            }
        }
    }
    let compiled = subjects.len() * all.len() * COMPILERS.len();
    println!(
        "headers: {compiled} compilations without a warning, {compared} layouts as the reference's"
    );
    Ok(())
}

/// What came of comparing the layouts of our header and of the reference's.
enum Layout {
    Same,
    TheirsDoesNotCompile(String),
}

/// Compiles our header of an object in all ways; none where the reference makes no header.
fn one(
    reference: &Reference,
    folder: &Path,
    all: &[Headers; 2],
    object: &Path,
    sign: Option<(&Path, &Path)>,
) -> anyhow::Result<Option<Layout>> {
    let subject = Subject::new(folder, object, sign)?;
    let mut newer = Vec::new();
    for headers in all {
        // What is signed needs the newer libbpf, and says so with one error.
        if sign.is_some() && headers.version == "1.7" {
            let Err(error) = subject.compile(&subject.ours, headers, COMPILERS[0]) else {
                bail!("a signed header compiles with libbpf 1.7, which can not load it");
            };
            if !error
                .to_string()
                .contains("needs the headers of libbpf 1.8 or later")
            {
                return Err(error);
            }
            continue;
        }
        newer.clear();
        for compiler in COMPILERS {
            newer.push(subject.compile(&subject.ours, headers, compiler)?);
        }
    }
    let none = Headers {
        version: "none",
        folders: Vec::new(),
    };
    for compiler in COMPILERS {
        subject.compile(&subject.standalone, &none, compiler)?;
    }
    let theirs = reference.skeleton(object, sign)?;
    if !theirs.status.success() {
        return Ok(None);
    }
    let path = subject.ours.with_extension("reference.h");
    std::fs::write(&path, &theirs.stdout)?;
    // The reference's header needs the newer libbpf for some objects.
    let ([_, headers], [compiler, _]) = (all, COMPILERS);
    let theirs = match subject.compile(&path, headers, compiler) {
        Ok(program) => layout(&program)?,
        Err(error) => {
            let text = error.to_string();
            let why = text.lines().find(|line| line.contains("error:"));
            return Ok(Some(Layout::TheirsDoesNotCompile(
                why.unwrap_or(&text).to_owned(),
            )));
        }
    };
    let ours = layout(&newer[0])?;
    if ours != theirs {
        bail!("the layout of the skeleton differs\nours:\n{ours}\nreference:\n{theirs}");
    }
    Ok(Some(Layout::Same))
}

fn layout(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).output()?;
    if !output.status.success() {
        bail!("{} failed", program.display());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An object, our header of it, and a program that uses the header.
struct Subject {
    ours: PathBuf,
    /// The same without libbpf.
    standalone: PathBuf,
    program: PathBuf,
}

impl Subject {
    fn new(folder: &Path, object: &Path, sign: Option<(&Path, &Path)>) -> anyhow::Result<Self> {
        let bytes = std::fs::read(object)?;
        let name = object_name(&object.to_string_lossy());
        let parsed = Object::parse(&bytes, &name)?;
        let (header, standalone, made) = match sign {
            Some((key, certificate)) => {
                let key = SigningKey::from_pem(&std::fs::read(key)?)?;
                let certificate = Certificate::from_bytes(&std::fs::read(certificate)?)?;
                let sealed = Sealer::new(&certificate).seal(parsed, &key)?;
                let standalone = sealed.c_header()?.standalone()?.to_string();
                (sealed.c_header()?.to_string(), standalone, sealed.made)
            }
            None => {
                let made = make_loader(parsed, &RunningHost, Form::Unsigned)?;
                let standalone = made.c_header()?.standalone()?.to_string();
                (made.c_header()?.to_string(), standalone, made)
            }
        };
        let form = if sign.is_some() { "signed" } else { "unsigned" };
        let subject = Self {
            ours: folder.join(format!("{name}-{form}.h")),
            standalone: folder.join(format!("{name}-{form}-standalone.h")),
            program: folder.join(format!("{name}-{form}.c")),
        };
        let program = user_program(&name, object, &header, &made)?;
        std::fs::write(&subject.ours, header)?;
        std::fs::write(&subject.standalone, standalone)?;
        std::fs::write(&subject.program, program)?;
        Ok(subject)
    }

    /// Compiles the program against a header, with warnings as errors.
    fn compile(
        &self,
        header: &Path,
        headers: &Headers,
        (compiler, language, standard): (&str, &str, &str),
    ) -> anyhow::Result<PathBuf> {
        let out = header.with_extension(format!("{compiler}-{}.program", headers.version));
        let mut command = Command::new(compiler);
        command
            .args(["-x", language, standard, "-O1", "-D_DEFAULT_SOURCE"])
            .args(["-Wall", "-Wextra", "-pedantic", "-Werror"])
            .arg(format!("-DSKELETON=\"{}\"", header.display()))
            .arg("-o")
            .arg(&out);
        for folder in &headers.folders {
            command.arg("-isystem").arg(folder);
        }
        if header != self.ours && header != self.standalone {
            // The reference's leave it to the user to include these.
            command.args(["-include", "errno.h", "-include", "string.h", "-w"]);
        }
        let output = command.arg(&self.program).output()?;
        if !output.status.success() {
            bail!(
                "{} does not compile with {compiler} and libbpf {}:\n{}",
                header.display(),
                headers.version,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(out)
    }
}

/// The program: prints the layout and names every function of the interface.
fn user_program(
    name: &str,
    object: &Path,
    header: &str,
    made: &bpfseal::Made,
) -> anyhow::Result<String> {
    let stem = object
        .file_name()
        .context("an object has a name")?
        .to_string_lossy()
        .replace(".bpf.o", "");
    let mut out =
        String::from("#include <stdio.h>\n#include <stddef.h>\n#include <linux/types.h>\n");
    // Types that the BPF program shares with whoever loads it.
    let shared = project::root().join("bpf").join(format!("{stem}.h"));
    if shared.is_file() {
        let _ = writeln!(out, "#include \"{}\"", shared.display());
    }
    out.push_str("enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };\n");
    let _ = writeln!(
        out,
        "#include SKELETON\n\nint main(int argc, char **argv)\n{{"
    );
    let _ = writeln!(
        out,
        "\tstruct {name} *skel = NULL;\n\t(void)skel;\n\t(void)argv;"
    );
    let mut own = vec!["ctx".to_owned()];
    for of in ["maps", "progs", "links"] {
        let names = members(header, of);
        own.extend(names.iter().map(|member| format!("{of}.{member}")));
    }
    if header.contains("__s32 keyring_id;") {
        own.push("keyring_id".to_owned());
    }
    let sections = data_sections(header, name);
    own.extend(sections.iter().cloned());
    for member in own {
        let _ = writeln!(
            out,
            "\tprintf(\"%s %zu\\n\", \"{member}\", offsetof(struct {name}, {member}));"
        );
    }
    for section in sections {
        for variable in members(header, &format!("*{section}")) {
            let _ = writeln!(
                out,
                "\tprintf(\"%s %zu %zu\\n\", \"{section}.{variable}\",\n\
                 \t       offsetof(__typeof__(*skel->{section}), {variable}), sizeof(skel->{section}->{variable}));"
            );
        }
    }
    out.push_str("\tif (argc < 2)\n\t\treturn 0;\n");
    let _ = writeln!(
        out,
        "\tskel = {name}__open();\n\tif (!skel || {name}__load(skel))\n\t\treturn 1;"
    );
    for (_, program) in made.object.entry_programs() {
        let _ = writeln!(out, "\t{name}__{}__attach(skel);", program.name);
    }
    let _ = writeln!(
        out,
        "\t{name}__attach(skel);\n\t{name}__detach(skel);\n\t{name}__destroy(skel);\n\
         \tskel = {name}__open_and_load();\n\t{name}__destroy(skel);\n\treturn 0;\n}}"
    );
    Ok(out)
}

/// The names of the members of an anonymous struct of the header, by the struct's own name.
fn members(header: &str, of: &str) -> Vec<String> {
    let end = format!("\t}} {of};");
    let lines: Vec<&str> = header.lines().collect();
    let Some(end) = lines.iter().position(|line| *line == end) else {
        return Vec::new();
    };
    let start = lines[..end]
        .iter()
        .rposition(|line| line.starts_with("\tstruct ") && line.ends_with('{'))
        .unwrap_or(end);
    let mut names = Vec::new();
    for line in &lines[start + 1..end] {
        // Members of members are deeper.
        let own = line.starts_with("\t\t") && !line.starts_with("\t\t\t");
        if let Some(name) = declared_name(line).filter(|_| own) {
            names.push(name);
        }
    }
    names
}

/// The name that a line declares; none for bit-fields, padding and openings.
fn declared_name(line: &str) -> Option<String> {
    let line = line.strip_suffix(';')?;
    if let Some((_, tail)) = line.split_once("(*") {
        let end = tail.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
        return Some(tail[..end].to_owned());
    }
    let line = line.split('[').next()?;
    let name = line.rsplit([' ', '*', '\t', '}']).next()?;
    let good = !name.is_empty() && !name.starts_with("__pad");
    (good && !line.contains(':')).then(|| name.to_owned())
}

fn data_sections(header: &str, name: &str) -> Vec<String> {
    let start = format!("\tstruct {name}__");
    header
        .lines()
        .filter_map(|line| line.strip_prefix(&start)?.strip_suffix(" {"))
        .map(str::to_owned)
        .collect()
}

/// Compiles the example in C against our signed header of its object, as a static file: for a
/// scheme, with headers of the libbpf that loads it.
pub(crate) fn c_example(scheme: Scheme) -> anyhow::Result<PathBuf> {
    let folder = project::target().join("headers").join(scheme.name());
    std::fs::create_dir_all(&folder)?;
    let keys = project::root().join("testdata/keys");
    let key = SigningKey::from_pem(&std::fs::read(keys.join("rsa2048.key.pem"))?)?;
    let certificate = Certificate::from_bytes(&std::fs::read(keys.join("rsa2048.cert.pem"))?)?;
    let bytes = std::fs::read(project::objects().join("one_map.bpf.o"))?;
    let object = Object::parse(&bytes, "one_map_bpf")?;
    let sealed = Sealer::new(&certificate)
        .schemes(&[scheme])
        .seal(object, &key)?;
    std::fs::write(
        folder.join("one_map.lskel.h"),
        sealed.c_header()?.to_string(),
    )?;
    let headers = if scheme.checks_in_loader() {
        libbpf_1_7()?
    } else {
        libbpf_1_8()?
    };
    static_c(
        &project::root().join("examples/c/counter.c"),
        &folder.join("counter"),
        &headers,
    )
}

/// Compiles what loads the reference's bytes with the reference's code.
pub(crate) fn reference_loader() -> anyhow::Result<PathBuf> {
    let folder = project::target().join("headers");
    std::fs::create_dir_all(&folder)?;
    static_c(
        &project::root().join("xtask/c/reference_loader.c"),
        &folder.join("reference-loader"),
        &libbpf_1_8()?,
    )
}

/// Compiles a program in C as a static file, with libbpf's headers and those beside the output.
fn static_c(source: &Path, out: &Path, headers: &Headers) -> anyhow::Result<PathBuf> {
    let mut command = Command::new("gcc");
    command
        .args(["-O2", "-Wall", "-Werror", "-static", "-o"])
        .arg(out)
        .arg("-I")
        .arg(out.parent().unwrap_or(Path::new(".")));
    for folder in &headers.folders {
        command.arg("-isystem").arg(folder);
    }
    project::check(command.arg(source))?;
    Ok(out.to_owned())
}

/// Fetches the headers of libbpf; outside of CI a machine without network does without, and says so.
pub(crate) fn fetch_or_skip() -> anyhow::Result<()> {
    match libbpf_1_7().and_then(|_| libbpf_1_8()) {
        Err(error) if !project::in_ci() => {
            eprintln!("SKIPPED: headers of libbpf, which are not available: {error:#}");
            Ok(())
        }
        result => result.map(drop),
    }
}

/// Headers of libbpf 1.7, out of the sources that the crate `libbpf-sys` carries.
fn libbpf_1_7() -> anyhow::Result<Headers> {
    let folder = project::target().join("reference/libbpf-1.7");
    let include = folder.join("include");
    if !include.join("bpf/skel_internal.h").is_file() {
        std::fs::create_dir_all(folder.join("src"))?;
        std::fs::write(folder.join("src/lib.rs"), "")?;
        std::fs::write(
            folder.join("Cargo.toml"),
            "[package]\nname = \"headers\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nlibbpf-sys = \"=1.7.0\"\n\n[workspace]\n",
        )?;
        let output = Command::new("cargo")
            .args(["metadata", "--format-version", "1"])
            .current_dir(&folder)
            .output()?;
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("cargo could not fetch libbpf-sys")?;
        let manifest = metadata["packages"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|package| package["name"] == "libbpf-sys")
            .and_then(|package| package["manifest_path"].as_str())
            .context("libbpf-sys was not fetched")?;
        let sources = Path::new(manifest)
            .parent()
            .context("a manifest is in a folder")?
            .join("libbpf");
        copy_headers(&sources.join("include/uapi/linux"), &include.join("linux"))?;
        copy_headers(&sources.join("src"), &include.join("bpf"))?;
    }
    Ok(Headers {
        version: "1.7",
        folders: vec![include],
    })
}

/// Headers of libbpf 1.8, out of Debian's kernel source package.
fn libbpf_1_8() -> anyhow::Result<Headers> {
    let folder = project::target().join("reference/libbpf-1.8");
    let include = folder.join("include");
    if !include.join("bpf/skel_internal.h").is_file() {
        eprintln!("fetching the kernel's sources for libbpf's headers (170 MB) ...");
        std::fs::create_dir_all(&folder)?;
        let debs = reference::download(&folder, &["linux-source-7.3"])?;
        let deb = debs.first().context("a package was downloaded")?;
        let sources = folder.join("sources");
        std::fs::create_dir_all(&sources)?;
        let script = "dpkg-deb --fsys-tarfile \"$1\" | \
             tar -xO --wildcards '*/linux-source-*.tar.xz' | \
             tar -xJ -C \"$2\" --strip-components=1 --wildcards \
                 '*/tools/lib/bpf/*.h' '*/tools/include/uapi/linux/*.h'";
        project::check(
            Command::new("bash")
                .args(["-o", "pipefail", "-c", script, "bash"])
                .args([deb, &sources]),
        )?;
        std::fs::remove_file(deb)?;
        copy_headers(
            &sources.join("tools/include/uapi/linux"),
            &include.join("linux"),
        )?;
        copy_headers(&sources.join("tools/lib/bpf"), &include.join("bpf"))?;
    }
    Ok(Headers {
        version: "1.8",
        folders: vec![include],
    })
}

/// Copies what BPF needs; the rest of the kernel's headers are the system's.
fn copy_headers(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_owned();
        let wanted = path.extension().is_some_and(|e| e == "h")
            && (to.ends_with("bpf")
                || ["bpf.h", "bpf_common.h", "btf.h"]
                    .iter()
                    .any(|h| name == *h));
        if wanted {
            std::fs::copy(&path, to.join(&name))?;
        }
    }
    Ok(())
}

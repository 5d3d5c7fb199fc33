//! The command, linked once more as a static file.
//!
//! It is given away like that (`cargo xtask dist`). A second build of everything would take
//! minutes, and only the last step differs: libraries do not know how they will be linked. Cargo
//! cannot be told so, so the compiler is started here, with the libraries that Cargo has built.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::project::{self, Built};

const PACKAGE: &str = "bpfseal-cli";

/// Where the static command is.
pub(crate) fn path() -> PathBuf {
    project::target().join("static/bpfseal")
}

/// Links it with the libraries of a build of the workspace.
pub(crate) fn command(built: &[Built]) -> anyhow::Result<()> {
    let metadata = project::metadata()?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let package = packages
        .iter()
        .find(|package| package["name"] == PACKAGE)
        .with_context(|| format!("no package is named `{PACKAGE}`"))?;
    let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
    let folder = project::root().join("crates").join(PACKAGE);
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--crate-name", "bpfseal", "--crate-type", "bin"])
        .args(["--edition", &text("edition"), "--cap-lints", "allow"])
        .args(["-Copt-level=1", "-Ccodegen-units=16", "-Cstrip=debuginfo"])
        .args(["-Cdebug-assertions=on"])
        .args(project::STATIC.split(' '))
        .arg(folder.join("src/main.rs"))
        .arg("-o")
        .arg(path())
        .arg("-L")
        .arg(format!(
            "dependency={}",
            project::target().join("debug/deps").display()
        ));
    let version = text("version");
    let mut parts = version.split('.');
    for name in ["MAJOR", "MINOR", "PATCH"] {
        rustc.env(
            format!("CARGO_PKG_VERSION_{name}"),
            parts.next().unwrap_or_default(),
        );
    }
    rustc
        .env("CARGO_PKG_VERSION", &version)
        .env("CARGO_PKG_NAME", PACKAGE)
        .env("CARGO_PKG_DESCRIPTION", text("description"))
        .env("CARGO_MANIFEST_DIR", &folder);
    for (name, id) in libraries(&metadata, &text("id")) {
        let library = built
            .iter()
            .find(|built| built.package_id == id && built.is_library())
            .with_context(|| format!("`{id}` was not built"))?;
        let file = library
            .filenames
            .iter()
            .find(|file| file.extension().is_some_and(|e| e == "rlib" || e == "so"));
        let file = file.with_context(|| format!("`{id}` is no library"))?;
        rustc
            .arg("--extern")
            .arg(format!("{name}={}", file.display()));
    }
    std::fs::create_dir_all(project::target().join("static"))?;
    project::check(&mut rustc).context("linking the static command")?;
    let ldd = Command::new("ldd")
        .arg(path())
        .output()
        .context("running ldd")?;
    if String::from_utf8_lossy(&ldd.stdout).contains("=>") {
        bail!("the static command is not static");
    }
    Ok(())
}

/// What a package is compiled with: names in its code, and packages.
fn libraries(metadata: &serde_json::Value, package: &str) -> Vec<(String, String)> {
    let nodes = metadata["resolve"]["nodes"].as_array();
    let node = nodes
        .into_iter()
        .flatten()
        .find(|node| node["id"] == package);
    let dependencies = node.and_then(|node| node["deps"].as_array());
    dependencies
        .into_iter()
        .flatten()
        .filter(|dependency| {
            let kinds = dependency["dep_kinds"].as_array();
            kinds
                .into_iter()
                .flatten()
                .any(|kind| kind["kind"].is_null())
        })
        .filter_map(|dependency| {
            let name = dependency["name"].as_str()?;
            Some((name.to_owned(), dependency["pkg"].as_str()?.to_owned()))
        })
        .collect()
}

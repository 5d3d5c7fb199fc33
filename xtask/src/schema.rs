//! `cargo xtask schema`: writes the schemas of the JSON reports into `docs/schema`.

use std::collections::BTreeSet;

use anyhow::Context as _;

use crate::project;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only compare the files with what would be written
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.check {
        return check();
    }
    let folder = project::root().join("docs/schema");
    std::fs::create_dir_all(&folder)?;
    for (name, text) in bpfseal::report::schemas() {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// The files are those that would be written, and there is no other.
pub(crate) fn check() -> anyhow::Result<()> {
    let folder = project::root().join("docs/schema");
    let mut names = BTreeSet::new();
    for (name, text) in bpfseal::report::schemas() {
        let path = folder.join(name);
        let found = std::fs::read_to_string(&path)
            .with_context(|| format!("`{}`: run `cargo xtask schema`", path.display()))?;
        if found != text {
            anyhow::bail!(
                "`{}` is out of date: run `cargo xtask schema`",
                path.display()
            );
        }
        names.insert(name.to_owned());
    }
    for entry in std::fs::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !names.contains(&name) {
            anyhow::bail!("`docs/schema/{name}` is the schema of no report");
        }
    }
    Ok(())
}

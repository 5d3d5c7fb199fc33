//! `cargo run -p codegen`: generates the code of `bpfseal-uapi`, even while its users do not
//! compile.
#![forbid(unsafe_code)]

fn main() -> anyhow::Result<()> {
    codegen::write()
}

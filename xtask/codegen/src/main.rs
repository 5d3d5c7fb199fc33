//! `cargo run -p codegen`: makes the code of the kernel's numbers from their tables, also while
//! what uses them does not compile.
#![forbid(unsafe_code)]

fn main() -> anyhow::Result<()> {
    codegen::write()
}

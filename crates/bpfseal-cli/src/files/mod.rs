//! Files: reading inputs and writing outputs. `-` is standard input or output.

mod interrupt;
mod read;
mod write;

pub(crate) use read::{announce, is_stdio, read, read_secret, shown};
pub(crate) use write::{
    Contents, create, create_directory, json, print, print_json, replace, write,
};

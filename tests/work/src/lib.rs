//! Rust skeletons of the objects `bpf/work_*.bpf.c`, sealed with the project's test key when this
//! crate is built. Its tests load them into a real kernel and see them at work.
#![forbid(unsafe_code)]

macro_rules! skeletons {
    ($($name:ident),*) => {$(
        #[allow(missing_docs, reason = "generated")]
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
        }
    )*};
}

skeletons!(
    cgroup,
    gate,
    iter,
    kill,
    lsm,
    maps,
    more_maps,
    probes,
    socket,
    syscall,
    syscall_unsigned,
    tc,
    tracing,
    xdp
);

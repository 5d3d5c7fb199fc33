//! How a loader is installed: which calls, with what, in which order, and what has to be undone.
//!
//! For whoever carries it out ([`Executor`]): the running kernel, a model of it, a catalogue of
//! attacks. [`InstallPlan`] is data; nothing is called here. What a kernel answers to a call is
//! looked up in one table of refusals ([`Code`]), which says what it means, and leaves it to whoever
//! talks to people to say what to do.
//!
//! ```text
//! LoaderForm ── InstallPlan ──┬─ Executor ── the running kernel ──┐
//!                             ├─ Executor ── the model ───────────┼─ step, errno, log ── Refusal
//!                             └─ twisted ─── attacks ─────────────┘
//! ```
//!
//! The calls and their order are those of `bpf_load_and_run` in libbpf's `skel_internal.h`.

mod execute;
mod plan;
mod refusal;
mod step;

pub use execute::{Executor, Failed};
pub use plan::{
    Call, Context, Input, InstallPlan, NewMap, NewProgram, Signature, Undo, UnknownObject,
};
pub use refusal::{Checks, Circumstances, Code, Refusal};
pub use step::Step;

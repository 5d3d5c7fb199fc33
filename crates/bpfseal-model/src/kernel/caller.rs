//! Who makes a call: a task of user space, or the kernel itself.
//!
//! The kernel calls for programs that it runs, such as a loader that installs what it has. Security
//! modules are told `kernel = true` then, and nothing of the program. Whose call it is can be known
//! as long as the program runs: by the task that it runs on. A program can also have the kernel call
//! later, from a work queue or, as task work, in another process; such calls come from inside of the
//! kernel just the same, and belong to no run.

/// A task: a thread of user space, or a worker of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task(pub u32);

impl Task {
    /// The one that makes a call for which none is named.
    pub const FIRST: Self = Self(1);
}

/// A run of a program of type syscall: counted from 0, in the order in which runs begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u32);

/// Who makes a call. Exhaustive: there is nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A system call of a task.
    User(Task),
    /// The kernel.
    Kernel {
        /// The task that it is on.
        task: Task,
        /// The run that is under way there. Without one, the call is nobody's.
        within: Option<RunId>,
    },
}

impl Caller {
    /// The task that is current.
    #[must_use]
    pub fn task(self) -> Task {
        match self {
            Self::User(task) | Self::Kernel { task, .. } => task,
        }
    }

    /// What security modules are told: whether the kernel calls.
    #[must_use]
    pub fn is_kernel(self) -> bool {
        matches!(self, Self::Kernel { .. })
    }

    /// The run that the call belongs to. None for user space.
    #[must_use]
    pub fn run(self) -> Option<RunId> {
        match self {
            Self::User(_) => None,
            Self::Kernel { within, .. } => within,
        }
    }
}

/// What is kept of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub(super) task: Task,
    /// The number of its program.
    pub(super) program: u32,
    pub(super) over: bool,
}

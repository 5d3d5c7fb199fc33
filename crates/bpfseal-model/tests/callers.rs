//! Whose a load is that comes from inside of the kernel: of the loader that runs there, or nobody's.
#![allow(clippy::unwrap_used, reason = "tests")]

use bpfseal_loader::{EmitOptions, FixedHost, Form, LoadPlan, Loader};
use bpfseal_model::Errno;
use bpfseal_model::explain::Setting;
use bpfseal_model::kernel::{
    Asked, Caller, End, Fd, Kernel, MapCreate, Profile, ProgLoad, RunId, SecurityModule, Task,
};
use bpfseal_object::{Endian, Object};
use bpfseal_seal::{TrustStore, excl_prog_hash};
use bpfseal_uapi::prog;

/// `r0 = 0; exit`.
const RETURN_ZERO: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// A worker of the kernel, where no program was started.
const WORKER: Task = Task(77);

fn object(name: &str) -> Loader {
    let path = format!(
        "{}/../../testdata/objects/{name}.bpf.o",
        env!("CARGO_MANIFEST_DIR")
    );
    let object = Object::parse(&std::fs::read(path).unwrap(), name).unwrap();
    let plan = LoadPlan::new(&object, &FixedHost::default()).unwrap();
    Loader::new(&plan, EmitOptions::new(Form::Unsigned)).unwrap()
}

/// A loader in a kernel, ready to be run: its descriptor, and its context.
fn load(kernel: &mut Kernel, loader: &Loader, name: &str) -> (Fd, Vec<u8>) {
    let len = u32::try_from(loader.metadata.len()).unwrap();
    let wanted = MapCreate::metadata(len, excl_prog_hash(&loader.instructions));
    let map = kernel.map_create(&wanted).unwrap();
    let written = kernel.map_update(map, &[0; 4], &loader.metadata, 0);
    written.unwrap();
    let answer = kernel.prog_load(&ProgLoad {
        name: name.to_owned(),
        prog_type: prog::SYSCALL,
        instructions: loader.instructions.clone(),
        fd_array: Some(vec![map]),
        ..ProgLoad::default()
    });
    let context = vec![0; loader.context.size() as usize];
    (answer.result.unwrap(), context)
}

/// Something that a work queue or task work of a loader has the kernel load.
fn late() -> ProgLoad {
    ProgLoad {
        name: "late".to_owned(),
        prog_type: prog::SOCKET_FILTER,
        instructions: RETURN_ZERO.to_vec(),
        ..ProgLoad::default()
    }
}

/// The names of what was loaded, each with the loader that it is attributed to.
fn attributed(kernel: &Kernel) -> Vec<(&str, Option<&str>)> {
    let name_of = |caller| {
        let loader = kernel.loader_of(caller)?;
        Some(loader.loaded.name.as_str())
    };
    let all = kernel.admissions.iter();
    all.map(|one| (one.name.as_str(), name_of(one.caller)))
        .collect()
}

/// Lets the kernel load only what belongs to the run of a loader.
#[derive(Debug)]
struct OnlyOfLoaders;

impl SecurityModule for OnlyOfLoaders {
    fn name(&self) -> &'static str {
        "only-of-loaders"
    }

    fn prog_load(&mut self, asked: &Asked<'_>) -> Result<(), Errno> {
        let loader = asked.loader.map(|loader| loader.loaded.name.as_str());
        match asked.caller {
            Caller::Kernel { .. } if loader != Some("loader") => Err(Errno::EPERM),
            _ => Ok(()),
        }
    }
}

#[test]
fn within_a_run_it_is_the_loaders() {
    let mut kernel = Kernel::new(Profile::V7_3);
    kernel.modules.add(Box::new(OnlyOfLoaders));
    let (loader, context) = load(&mut kernel, &object("minimal"), "loader");
    let ran = kernel.prog_run_by(Task(5), loader, context);
    assert_eq!(ran.end, End::Returned(0));
    let nested = kernel.admissions.last().unwrap();
    let within = Some(RunId(0));
    let task = Task(5);
    assert_eq!(nested.caller, Caller::Kernel { task, within });
    assert!(nested.loaded);
    assert_eq!(
        attributed(&kernel),
        [("loader", None), ("minimal", Some("loader"))]
    );
}

#[test]
fn outside_of_a_run_it_is_nobodys() {
    let mut kernel = Kernel::new(Profile::V7_3);
    let (loader, context) = load(&mut kernel, &object("minimal"), "loader");
    assert_eq!(
        kernel.prog_run_by(Task(5), loader, context).end,
        End::Returned(0)
    );
    kernel.modules.add(Box::new(OnlyOfLoaders));
    let claimed = |task| Caller::Kernel {
        task,
        within: Some(RunId(0)),
    };
    // By a worker, by task work in another process, and on the loader's task when its run is over;
    // whatever is said of a run.
    for caller in [
        kernel.caller_on(WORKER),
        kernel.caller_on(Task(6)),
        kernel.caller_on(Task(5)),
        claimed(WORKER),
        claimed(Task(5)),
    ] {
        let answer = kernel.prog_load_by(caller, &late());
        assert_eq!(answer.result, Err(Errno::EPERM));
        let told = kernel.admissions.last().unwrap().caller;
        assert_eq!((told.is_kernel(), told.run()), (true, None), "{caller:?}");
        assert_eq!(told.task(), caller.task());
    }
    // From user space it is another matter.
    assert!(kernel.prog_load(&late()).result.is_ok());
}

#[test]
fn two_loaders_in_turn_have_each_their_own() {
    let mut kernel = Kernel::new(Profile::V7_3);
    let (first, context) = load(&mut kernel, &object("minimal"), "first");
    let (second, other) = load(&mut kernel, &object("one_map"), "second");
    // Run in another order than loaded, on one task and on two, the first of them twice.
    let runs = [
        (Task(5), second, other),
        (Task(5), first, context.clone()),
        (Task(6), first, context),
    ];
    for (task, loader, context) in runs {
        let ran = kernel.prog_run_by(task, loader, context);
        assert_eq!(ran.end, End::Returned(0));
    }
    assert_eq!(
        attributed(&kernel),
        [
            ("first", None),
            ("second", None),
            ("count", Some("second")),
            ("minimal", Some("first")),
            ("minimal", Some("first")),
        ]
    );
    let runs: Vec<_> = kernel.admissions.iter().map(|a| a.caller.run()).collect();
    let wanted = [None, None, Some(RunId(0)), Some(RunId(1)), Some(RunId(2))];
    assert_eq!(runs, wanted);
}

/// A policy that wants signatures lets through what a loader installs, and nothing else that comes
/// from inside of the kernel.
#[test]
fn a_policy_refuses_what_is_nobodys() {
    let trust = TrustStore::new();
    let setting = Setting {
        policies: vec!["signed".parse().unwrap()],
        ..Setting::new(Profile::V7_3, &trust)
    };
    let mut kernel = setting.kernel(Endian::Little);
    let late = kernel.prog_load_by(kernel.caller_on(WORKER), &late());
    assert_eq!(late.result, Err(Errno::EPERM));
}

//! Carrying out a plan: one walk over its calls, for everybody who answers them.

use super::plan::{Call, Context, InstallPlan, NewMap, NewProgram, Undo, UnknownObject};
use super::step::Step;

/// Who carries out the calls of a plan: a running kernel, or something like it.
pub trait Executor {
    /// What a map is held by.
    type Map;
    /// What a program is held by.
    type Program;
    /// What a run leaves.
    type Ran;
    /// Why a call failed.
    type Error;

    /// `BPF_MAP_CREATE`.
    ///
    /// # Errors
    /// The kernel's.
    fn create_map(&mut self, map: &NewMap<'_>) -> Result<Self::Map, Self::Error>;

    /// `BPF_MAP_UPDATE_ELEM`, of the first element of an array.
    ///
    /// # Errors
    /// The kernel's.
    fn write_map(&mut self, map: &Self::Map, value: &[u8]) -> Result<(), Self::Error>;

    /// `BPF_MAP_FREEZE`.
    ///
    /// # Errors
    /// The kernel's.
    fn freeze_map(&mut self, map: &Self::Map) -> Result<(), Self::Error>;

    /// `BPF_OBJ_GET_INFO_BY_FD`, asking for the digest of a map.
    ///
    /// # Errors
    /// The kernel's.
    fn digest_map(&mut self, map: &Self::Map) -> Result<(), Self::Error>;

    /// `BPF_PROG_LOAD`, with the maps of `fd_array`.
    ///
    /// # Errors
    /// The kernel's.
    fn load_program(
        &mut self,
        program: &NewProgram<'_>,
        fd_array: &[&Self::Map],
    ) -> Result<Self::Program, Self::Error>;

    /// `BPF_PROG_RUN`.
    ///
    /// # Errors
    /// The kernel's, where the program is not run.
    fn run_program(
        &mut self,
        program: &Self::Program,
        context: &Context<'_>,
    ) -> Result<Self::Ran, Self::Error>;

    /// Lets go of a map.
    fn close_map(&mut self, map: Self::Map) {
        drop(map);
    }

    /// Lets go of a program.
    fn close_program(&mut self, program: Self::Program) {
        drop(program);
    }
}

/// Where and why an installation ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed<E> {
    /// A call failed.
    #[error("{} failed", .step.describe())]
    Call {
        /// Which.
        step: Step,
        /// Why.
        source: E,
    },
    /// The plan is none that can be carried out.
    #[error(transparent)]
    Plan(#[from] UnknownObject),
}

impl InstallPlan<'_> {
    /// Carries it out, call by call: what the last run of a program has left, if there was one.
    /// Maps and programs of the plan are let go of, the last first, however it ends.
    ///
    /// # Errors
    /// The first call that failed.
    pub fn execute<E: Executor>(
        &self,
        executor: &mut E,
    ) -> Result<Option<E::Ran>, Failed<E::Error>> {
        let mut made = Made {
            maps: Vec::new(),
            programs: Vec::new(),
        };
        let mut ran = None;
        let mut result = Ok(());
        let mut done = 0;
        for call in &self.calls {
            match made.make(executor, call) {
                Ok(left) => ran = left.or(ran),
                Err(failed) => {
                    result = Err(failed);
                    break;
                }
            }
            done += 1;
        }
        for undo in self.undo(done) {
            match undo {
                Undo::CloseMap(_) => made.maps.pop().map(|map| executor.close_map(map)),
                Undo::CloseProgram(_) => {
                    let program = made.programs.pop();
                    program.map(|program| executor.close_program(program))
                }
            };
        }
        result.map(|()| ran)
    }
}

/// What was made so far, by number.
struct Made<E: Executor> {
    maps: Vec<E::Map>,
    programs: Vec<E::Program>,
}

impl<E: Executor> Made<E> {
    fn map(&self, step: Step, number: usize) -> Result<&E::Map, UnknownObject> {
        self.maps.get(number).ok_or(UnknownObject {
            step,
            kind: "map",
            number,
        })
    }

    fn make(
        &mut self,
        executor: &mut E,
        call: &Call<'_>,
    ) -> Result<Option<E::Ran>, Failed<E::Error>> {
        let step = call.step();
        let at = |source| Failed::Call { step, source };
        match call {
            Call::CreateMap(map) => self.maps.push(executor.create_map(map).map_err(at)?),
            Call::WriteMap { map, value } => {
                let map = self.map(step, *map)?;
                executor.write_map(map, value).map_err(at)?;
            }
            Call::FreezeMap { map } => {
                let map = self.map(step, *map)?;
                executor.freeze_map(map).map_err(at)?;
            }
            Call::DigestMap { map } => {
                let map = self.map(step, *map)?;
                executor.digest_map(map).map_err(at)?;
            }
            Call::LoadProgram(program) => {
                let maps = program.fd_array.iter().map(|map| self.map(step, *map));
                let maps = maps.collect::<Result<Vec<_>, _>>()?;
                let program = executor.load_program(program, &maps).map_err(at)?;
                self.programs.push(program);
            }
            Call::RunProgram { program, context } => {
                let program = self.programs.get(*program).ok_or(UnknownObject {
                    step,
                    kind: "program",
                    number: *program,
                })?;
                return executor.run_program(program, context).map(Some).map_err(at);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bpfseal_loader::ContextLayout;
    use bpfseal_seal::{Scheme, Seal, SealedLoader};
    use bpfseal_uapi::KeyringId;
    use proptest::prelude::*;

    /// Writes down what it is asked for, and fails at one step.
    #[derive(Default)]
    struct Script {
        fails: Option<Step>,
        said: Vec<String>,
        maps: usize,
        programs: usize,
    }

    impl Script {
        fn say(&mut self, step: Step, what: impl Into<String>) -> Result<(), &'static str> {
            self.said.push(what.into());
            if self.fails == Some(step) {
                Err("no")
            } else {
                Ok(())
            }
        }
    }

    impl Executor for Script {
        type Map = usize;
        type Program = usize;
        type Ran = ();
        type Error = &'static str;

        fn create_map(&mut self, _: &NewMap<'_>) -> Result<usize, &'static str> {
            self.say(Step::CreateMetadata, "create")?;
            self.maps += 1;
            Ok(self.maps - 1)
        }

        fn write_map(&mut self, map: &usize, _: &[u8]) -> Result<(), &'static str> {
            self.say(Step::FillMetadata, format!("write {map}"))
        }

        fn freeze_map(&mut self, map: &usize) -> Result<(), &'static str> {
            self.say(Step::FreezeMetadata, format!("freeze {map}"))
        }

        fn digest_map(&mut self, map: &usize) -> Result<(), &'static str> {
            self.say(Step::DigestMetadata, format!("digest {map}"))
        }

        fn load_program(
            &mut self,
            program: &NewProgram<'_>,
            maps: &[&usize],
        ) -> Result<usize, &'static str> {
            let count = program.fd_array_cnt;
            self.say(Step::LoadLoader, format!("load {maps:?} of {count}"))?;
            self.programs += 1;
            Ok(self.programs - 1)
        }

        fn run_program(&mut self, program: &usize, _: &Context<'_>) -> Result<(), &'static str> {
            self.say(Step::RunLoader, format!("run {program}"))
        }

        fn close_map(&mut self, map: usize) {
            self.said.push(format!("close map {map}"));
        }

        fn close_program(&mut self, program: usize) {
            self.said.push(format!("close program {program}"));
        }
    }

    fn seal(scheme: Scheme) -> Seal {
        Seal {
            scheme,
            signature: b"signature".as_slice().into(),
            excl_prog_hash: [7; 32],
        }
    }

    fn plan(seal: &Seal) -> InstallPlan<'_> {
        let loader = SealedLoader {
            instructions: &[0; 8],
            metadata: b"metadata",
            seal,
        };
        let context = ContextLayout {
            maps: 0,
            programs: 0,
        };
        InstallPlan::sealed(loader, KeyringId::SESSION, context)
    }

    #[test]
    fn the_calls_are_in_order_and_undone_in_reverse() {
        for (scheme, digest, count) in [
            (Scheme::LoadTime, false, 1),
            (Scheme::InLoader, true, 0),
            (Scheme::InLoaderExclusive, true, 0),
        ] {
            let mut script = Script::default();
            let ran = plan(&seal(scheme)).execute(&mut script);
            assert_eq!(ran, Ok(Some(())));
            let load = format!("load [0] of {count}");
            let mut wanted = vec!["create", "write 0", "freeze 0"];
            wanted.extend(digest.then_some("digest 0"));
            wanted.extend([&*load, "run 0", "close program 0", "close map 0"]);
            assert_eq!(script.said, wanted, "{}", scheme.name());
        }
    }

    #[test]
    fn whatever_fails_is_named_and_undone() {
        let seal = seal(Scheme::InLoader);
        let plan = plan(&seal);
        for (done, call) in plan.calls.iter().enumerate() {
            let mut script = Script {
                fails: Some(call.step()),
                ..Script::default()
            };
            let (step, source) = (call.step(), "no");
            let failed = plan.execute(&mut script);
            assert_eq!(failed, Err(Failed::Call { step, source }));
            let closed = &script.said[done + 1..];
            let mut wanted = Vec::new();
            wanted.extend((done > 4).then_some("close program 0"));
            wanted.extend((done > 0).then_some("close map 0"));
            assert_eq!(closed, wanted, "{step:?}");
        }
    }

    proptest! {
        /// Whatever calls a plan has, in whatever order: it ends, and closes once what it made.
        #[test]
        fn any_plan_closes_what_it_makes(order in prop::collection::vec(0..6usize, 0..12)) {
            let seal = seal(Scheme::InLoader);
            let honest = plan(&seal);
            let calls = order.iter().map(|index| honest.calls[*index].clone());
            let twisted = InstallPlan { calls: calls.collect(), ..honest };
            let mut script = Script::default();
            let _ = twisted.execute(&mut script);
            let count = |start: &str| script.said.iter().filter(|s| s.starts_with(start)).count();
            prop_assert_eq!(count("close map"), script.maps);
            prop_assert_eq!(count("close program"), script.programs);
        }
    }
}

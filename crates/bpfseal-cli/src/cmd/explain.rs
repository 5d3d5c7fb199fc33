//! `bpfseal explain`: which kernels take an artifact, and why not?

use std::fmt::Write as _;
use std::path::PathBuf;

use bpfseal::model::explain::{Explanation, describe_admission, explain};
use bpfseal::model::kernel::Profile;
use bpfseal::seal::{Artifact, LoaderForm, TrustStore};
use serde_json::{Value, json};

use crate::Outcome;
use crate::args::read_certificates;
use crate::failure::Failure;
use crate::files;
use crate::input::SealFile;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Asks a model of the kernel, which answers as real ones do (docs/model.md). For \
    each kernel the forms of the artifact are tried as `bpfseal load` does, strongest first.\n\n\
    Examples:\n  \
    bpfseal explain prog.bpfseal --keyring cert.pem                 all kernels, as a table\n  \
    bpfseal explain prog.lskel.h --keyring ca.pem --kernel 7.3      one, in detail\n  \
    bpfseal explain prog.bpfseal --kernel $(uname -r) --json\n\n\
    Exit codes: 0 every kernel that was asked for takes it, 1 one does not, 2 wrong usage, 3 an \
    input can not be read."
)]
pub(crate) struct Args {
    /// A bundle, a C or Rust light skeleton of ours, or one of bpftool's; with --seal an object;
    /// `-` is standard input
    #[arg(value_name = "ARTIFACT|OBJ")]
    artifact: PathBuf,

    #[command(flatten)]
    seal: SealFile,

    /// Kernel: a version such as 7.3 or 6.19.14, hash-chain or hornet for the proposals, or all;
    /// can be given several times
    #[arg(long, value_name = "VERSION", default_value = "all")]
    kernel: Vec<String>,

    /// Certificate, PEM or DER, or folder of certificates, that is in the keyring; can be given
    /// several times
    #[arg(long, num_args = 1.., value_name = "CERT|DIR")]
    keyring: Vec<PathBuf>,

    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// What a kernel says to all forms of an artifact.
struct Answer {
    /// As it was asked for.
    kernel: String,
    profile: Profile,
    forms: Vec<Explanation>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let artifact = args.seal.artifact(&args.artifact)?;
    let mut keyring = TrustStore::new();
    for path in &args.keyring {
        for certificate in read_certificates(path)? {
            keyring.add(certificate);
        }
    }
    let mut answers = Vec::new();
    for name in &args.kernel {
        if name == "all" {
            for profile in Profile::ALL {
                answers.push(Answer::new(profile.name(), profile, &artifact, &keyring));
            }
            continue;
        }
        let profile = Profile::of(name).ok_or_else(|| {
            let names = Profile::ALL.map(Profile::name).join(", ");
            Failure::usage(
                format!("`{name}` is no kernel"),
                format!("give a version such as 7.3, or one of {names}"),
            )
        })?;
        answers.push(Answer::new(name, profile, &artifact, &keyring));
    }
    let place = files::shown(&args.artifact);
    if args.json {
        let kernels: Vec<Value> = answers.iter().map(Answer::to_json).collect();
        let whole = json!({ "artifact": place, "kernels": kernels });
        files::print(&format!("{whole:#}\n"));
    } else {
        let text = match answers.as_slice() {
            [one] => one.to_text(&place),
            all => table(&place, all),
        };
        files::print(&text);
    }
    let whole = args.kernel.iter().any(|name| name == "all");
    // Not every kernel can take an artifact: a table is an answer, not a verdict.
    if whole || answers.iter().all(|answer| answer.accepted().is_some()) {
        Ok(())
    } else {
        Err(Failure::Rejected)
    }
}

fn table(place: &str, answers: &[Answer]) -> String {
    let mut out = format!("{place}\n");
    let _ = writeln!(
        out,
        "  {:<12} {:<20} {:<13} why",
        "kernel", "form", "answer"
    );
    for answer in answers {
        let decisive = answer.decisive();
        let (what, why) = match &decisive.refusal {
            None => ("takes it".to_owned(), String::new()),
            Some(refusal) => (refusal.errno.to_string(), refusal.meaning.clone()),
        };
        let form = form_name(decisive);
        let line = format!("  {:<12} {form:<20} {what:<13} {why}", answer.kernel);
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

fn form_name(explanation: &Explanation) -> &'static str {
    explanation
        .scheme
        .map_or("unsigned", |scheme| scheme.name())
}

impl Answer {
    fn new(name: &str, profile: Profile, artifact: &Artifact, keyring: &TrustStore) -> Self {
        let one = |form: &LoaderForm| explain(form, &artifact.metadata, profile, keyring);
        Self {
            kernel: name.to_owned(),
            profile,
            forms: artifact.forms.iter().map(one).collect(),
        }
    }

    /// The first form that is taken.
    fn accepted(&self) -> Option<&Explanation> {
        self.forms.iter().find(|form| form.refusal.is_none())
    }

    /// The form that counts: one that is taken, or that of the kernel's own scheme, or the first.
    fn decisive(&self) -> &Explanation {
        let own = || {
            self.forms
                .iter()
                .find(|form| form.scheme == self.profile.scheme())
        };
        self.accepted().or_else(own).unwrap_or(&self.forms[0])
    }

    fn to_text(&self, place: &str) -> String {
        let mut out = String::new();
        let verdict = if self.accepted().is_some() {
            "taken"
        } else {
            "refused"
        };
        let _ = writeln!(
            out,
            "{verdict}: {place}, by {} ({})",
            self.kernel,
            self.profile.kernels()
        );
        let mut row = |name: &str, value: &str| {
            let _ = writeln!(out, "  {name:<11} {value}");
        };
        for form in &self.forms {
            row("form", form_name(form));
            match &form.refusal {
                None => row("  answer", "takes it"),
                Some(refusal) => {
                    row(
                        "  answer",
                        &format!("{}: {}", refusal.errno, refusal.meaning),
                    );
                    row("  step", refusal.step.describe());
                    for line in &refusal.log {
                        row("  kernel", line);
                    }
                    row("  help", refusal.help);
                }
            }
            if let Some(admission) = &form.admission {
                row(
                    "  told",
                    &format!("security modules see it {}", describe_admission(admission)),
                );
            }
        }
        out
    }

    fn to_json(&self) -> Value {
        let forms: Vec<Value> = self
            .forms
            .iter()
            .map(|form| {
                let refusal = form.refusal.as_ref();
                json!({
                    "scheme": form.scheme.map(|scheme| scheme.name()),
                    "accepted": refusal.is_none(),
                    "step": refusal.map(|r| r.step.describe()),
                    "errno": refusal.map(|r| r.errno.to_string()),
                    "log": refusal.map(|r| r.log.clone()),
                    "meaning": refusal.map(|r| r.meaning.clone()),
                    "help": refusal.map(|r| r.help),
                    "security_modules": form.admission.as_ref().map(describe_admission),
                })
            })
            .collect();
        json!({
            "kernel": self.kernel,
            "profile": self.profile.name(),
            "kernels": self.profile.kernels(),
            "accepted": self.accepted().is_some(),
            "forms": forms,
        })
    }
}

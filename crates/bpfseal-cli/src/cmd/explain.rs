//! `bpfseal explain`: which kernels take an artifact, and why not?

use std::fmt::Write as _;
use std::path::PathBuf;

use bpfseal::artifact::{Artifact, LoaderForm};
use bpfseal::model::audit::endian_of;
use bpfseal::model::explain::{Explanation, Setting, describe_admission, explain};
use bpfseal::model::kernel::{Policy, Profile};
use bpfseal::seal::TrustStore;
use serde_json::{Value, json};

use crate::Outcome;
use crate::args::{parse_keyring, read_certificates};
use crate::failure::Failure;
use crate::files;
use crate::input::SealFile;
use crate::symbols::SymbolArgs;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Asks a model of the kernel, which answers as real ones do (docs/model.md). For \
    each kernel the forms of the artifact are tried as `bpfseal load` does, strongest first.\n\n\
    Examples:\n  \
    bpfseal explain prog.bpfseal --keyring cert.pem                 all kernels, as a table\n  \
    bpfseal explain prog.lskel.h --keyring ca.pem --kernel 7.3      one, in detail\n  \
    bpfseal explain prog.bpfseal --kernel $(uname -r) --json\n  \
    bpfseal explain prog.bpfseal --keyring ca.pem --keyring-id builtin --policy signed=builtin\n\n\
    Policies: signed, user space loads only verified programs, and what a loader installs is let \
    through; signed=builtin,platform and the like, with a key of one of these keyrings; all-signed, \
    every program is to be verified itself.\n\n\
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

    /// Where these certificates are: builtin, secondary, platform, session, user, or the number of
    /// a keyring
    #[arg(long, value_name = "KEYRING", default_value = "session")]
    keyring_id: String,

    /// Policy of a security module: signed, signed=KEYRING,… or all-signed; can be given several
    /// times
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    policy: Vec<Policy>,

    #[command(flatten)]
    symbols: SymbolArgs,

    /// Print as JSON
    #[arg(long)]
    json: bool,
}

fn policy(text: &str) -> Result<Policy, String> {
    text.parse()
        .map_err(|error| format!("{error}; there are {}", Policy::FORMS))
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
    let keyring_id = parse_keyring(&args.keyring_id)?.0;
    let endian = endian_of(artifact.forms[0].instructions());
    let symbols = args.symbols.load(endian)?;
    let answer = |name: &str, profile| {
        let setting = Setting {
            keyring_id,
            policies: args.policy.clone(),
            symbols: symbols.clone(),
            ..Setting::new(profile, &keyring)
        };
        Answer::new(name, &artifact, &setting)
    };
    let mut answers = Vec::new();
    for name in &args.kernel {
        if name == "all" {
            for profile in Profile::ALL {
                answers.push(answer(profile.name(), profile));
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
        answers.push(answer(name, profile));
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
    fn new(name: &str, artifact: &Artifact, setting: &Setting<'_>) -> Self {
        let one = |form: &LoaderForm| explain(artifact, form, setting);
        Self {
            kernel: name.to_owned(),
            profile: setting.profile,
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
            for admission in &form.admissions {
                let by = if admission.caller.is_kernel() {
                    ", loaded by the loader"
                } else {
                    ""
                };
                let end = if admission.loaded { "" } else { "; not loaded" };
                let told = describe_admission(admission);
                row("  told", &format!("`{}`{by}: {told}{end}", admission.name));
            }
            if let Some(fault) = &form.not_run {
                row("  run", &format!("not followed to its end: {fault}"));
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
                    "admissions": form.admissions.iter().map(|admission| json!({
                        "program": admission.name,
                        "kernel": admission.caller.is_kernel(),
                        "told": describe_admission(admission),
                        "loaded": admission.loaded,
                    })).collect::<Vec<_>>(),
                    "not_run": form.not_run.as_ref().map(ToString::to_string),
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

//! What the command prints as JSON is what `docs/schema` says, for every object of the test data.
//!
//! The schemas are checked with the keywords that they use, a dozen: a validator for all of JSON
//! Schema brings 50 to 70 crates. One keyword more, and the check fails. It asks for more than a
//! validator does: every field of a document has to be described.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{Bench, testdata};
use serde_json::{Value, json};

/// A schema with its definitions.
struct Schema(Value);

impl Schema {
    fn check(&self, document: &Value) -> Result<(), String> {
        self.described(document, &self.0, "$").map(|_| ())
    }

    /// Checks a value, and says which of its fields are described.
    fn described(
        &self,
        value: &Value,
        schema: &Value,
        at: &str,
    ) -> Result<BTreeSet<String>, String> {
        let seen = self.evaluated(value, schema, at)?;
        if let Value::Object(fields) = value
            && let Some(unknown) = fields.keys().find(|name| !seen.contains(*name))
        {
            return Err(format!("{at}: field `{unknown}` is not described"));
        }
        Ok(seen)
    }

    fn evaluated(
        &self,
        value: &Value,
        schema: &Value,
        at: &str,
    ) -> Result<BTreeSet<String>, String> {
        let mut seen = BTreeSet::new();
        let all = |list: &Value| list.as_array().unwrap().clone();
        for (keyword, argument) in schema.as_object().unwrap() {
            let fault = || format!("{at}: {value} is not as `{keyword}` wants: {argument}");
            let good = match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "format" | "required" => true,
                "$ref" => {
                    let name = argument.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    seen.extend(self.evaluated(value, &self.0["$defs"][name], at)?);
                    true
                }
                "type" => match argument {
                    Value::Array(kinds) => kinds.iter().any(|kind| is_a(value, kind)),
                    kind => is_a(value, kind),
                },
                "const" => value == argument,
                "enum" => all(argument).contains(value),
                // Of numbers; these schemas have them beside a type.
                "minimum" => value.as_f64().is_none_or(|v| Some(v) >= argument.as_f64()),
                "maximum" => value.as_f64().is_none_or(|v| Some(v) <= argument.as_f64()),
                // The one pattern that there is.
                "pattern" => {
                    assert_eq!(argument, "^([0-9a-f]{2})*$");
                    let text = value.as_str().unwrap_or("?");
                    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                    text.len().is_multiple_of(2) && text.bytes().all(digit)
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.described(item, argument, &format!("{at}[{index}]"))?;
                    }
                    true
                }
                "properties" => {
                    for (name, schema) in argument.as_object().unwrap() {
                        if let Some(field) = value.get(name) {
                            self.described(field, schema, &format!("{at}.{name}"))?;
                            seen.insert(name.clone());
                        }
                    }
                    true
                }
                "additionalProperties" => {
                    for (name, field) in value.as_object().into_iter().flatten() {
                        self.described(field, argument, &format!("{at}.{name}"))?;
                        seen.insert(name.clone());
                    }
                    true
                }
                "allOf" => {
                    for one in all(argument) {
                        seen.extend(self.evaluated(value, &one, at)?);
                    }
                    true
                }
                "anyOf" | "oneOf" => {
                    let each = all(argument);
                    let tried = each.iter().map(|one| self.evaluated(value, one, at));
                    let fit: Vec<_> = tried.flatten().collect();
                    let enough = !fit.is_empty() && (keyword == "anyOf" || fit.len() == 1);
                    seen.extend(fit.into_iter().flatten());
                    enough
                }
                other => return Err(format!("{at}: keyword `{other}` is not known here")),
            };
            if !good {
                return Err(fault());
            }
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            if value.get(name.as_str().unwrap()).is_none() {
                return Err(format!("{at}: field {name} is missing"));
            }
        }
        Ok(seen)
    }
}

fn is_a(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        other => panic!("type {other}"),
    }
}

/// All schemas, by the name in the field `schema`: `bpfseal/NAME/VERSION`.
fn schemas() -> BTreeMap<String, Schema> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let schema = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, Schema(schema))
    });
    files.collect()
}

/// Documents that were printed, by the schema that they name.
#[derive(Default)]
struct Documents(BTreeMap<String, Vec<(String, Value)>>);

impl Documents {
    /// What a command line prints, if it prints anything.
    fn print(&mut self, bench: &Bench, line: &str) {
        let ran = bench.run(line);
        if !ran.out.is_empty() {
            self.add(line, serde_json::from_str(&ran.out).unwrap());
        }
    }

    fn add(&mut self, line: &str, document: Value) {
        let name = document["schema"].as_str().unwrap();
        let mut words = name.split('/');
        assert_eq!(words.next(), Some("bpfseal"), "{line}: {name}");
        let name = words.next().unwrap().to_owned();
        assert_eq!(words.next(), Some("1"), "{line}");
        self.0
            .entry(name)
            .or_default()
            .push((line.to_owned(), document));
    }
}

/// Objects of the test data, by the name of a copy.
fn objects(bench: &Bench) -> Vec<String> {
    let mut names = Vec::new();
    for folder in ["", "big-endian", "refused"] {
        let prefix = folder.get(..3).unwrap_or("");
        for entry in std::fs::read_dir(testdata().join("objects").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if let Some(stem) = name.strip_suffix(".bpf.o") {
                let name = format!("{prefix}{stem}");
                bench.take(&path, &format!("{name}.bpf.o"));
                names.push(name);
            }
        }
    }
    names.sort();
    names
}

#[test]
fn documents_are_as_their_schemas_say() {
    const HOST: &str = "--page-size 4096 --possible-cpus 4 --kernel-version 7.3.0 --no-host";
    let bench = Bench::new();
    let mut all = Documents::default();
    let mut sealed = 0;
    for name in objects(&bench) {
        all.print(&bench, &format!("inspect {name}.bpf.o --json {HOST}"));
        let line = format!("seal {name}.bpf.o -k key.pem -i cert.pem --scheme all-kernels {HOST}");
        if bench.run(&format!("{line} -o {name}.bpfseal")).code != 0 {
            continue;
        }
        sealed += 1;
        for line in [
            "inspect X.bpfseal --json".to_owned(),
            "verify X.bpfseal --trust cert.pem --json".to_owned(),
            "verify X.bpfseal --trust other.cert.pem --json".to_owned(),
            format!("audit X.bpfseal --object X.bpf.o --json {HOST}"),
            "audit X.bpfseal --object sample.bpf.o --json".to_owned(),
            "explain X.bpfseal --keyring cert.pem --json".to_owned(),
            "explain X.bpfseal --keyring cert.pem --kernel 7.3 --policy all-signed --json"
                .to_owned(),
            format!("diff sample.bpf.o X.bpfseal --json {HOST}"),
            format!("diff X.bpfseal X.bpf.o --json {HOST}"),
        ] {
            all.print(&bench, &line.replace('X', &name));
        }
    }
    assert!(sealed > 30, "{sealed}");
    // An artifact that is not signed, one with several signatures, one that was changed.
    let header = bench.good("gen skeleton -L sample.bpf.o");
    std::fs::write(bench.path("u.lskel.h"), header.raw).unwrap();
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem -o two.bpfseal");
    bench.good("seal two.bpfseal --add-signature -k other.key.pem -i other.cert.pem");
    bench.good("seal sample.bpf.o -k key.pem -i cert.pem --embed-chain -o chain.bpfseal");
    let mut broken = bench.read("one_map.bpfseal");
    let end = broken.len() - 100;
    broken[end] ^= 1;
    std::fs::write(bench.path("broken.bpfseal"), broken).unwrap();
    for file in [
        "u.lskel.h",
        "two.bpfseal",
        "chain.bpfseal",
        "broken.bpfseal",
    ] {
        all.print(&bench, &format!("inspect {file} --json"));
        all.print(&bench, &format!("verify {file} --trust cert.pem --json"));
        all.print(&bench, &format!("audit {file} --json"));
        all.print(&bench, &format!("diff two.bpfseal {file} --json"));
    }
    // What is no trust anchor.
    std::fs::write(bench.path("cut.der"), &bench.read("cert.der")[..100]).unwrap();
    all.print(&bench, "verify two.bpfseal --trust cut.der --json");
    all.print(&bench, "explain two.bpfseal --keyring cut.der --json");
    std::fs::write(bench.path("none.symbols"), "0000 T nothing\n").unwrap();
    let line = "audit ksyms.bpfseal --kernel-symbols none.symbols --json";
    all.print(&bench, line);
    bench.good("tbs sample.bpf.o -i cert.pem --dir out");
    let tbs = serde_json::from_slice(&bench.read("out/tbs.json")).unwrap();
    all.add("tbs", tbs);
    for line in [
        "verify missing --trust cert.pem --json",
        "inspect cert.pem --json",
        "audit --json",
        "diff a b --no-such --json",
        "load two.bpfseal --json --keyring nowhere",
        "load u.lskel.h --json",
        "keyring find xyz --json",
        "seal missing --json",
    ] {
        let ran = bench.run(line);
        let error: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(error["schema"], "bpfseal/error/1", "{line}");
        assert_eq!(error["exit_code"], ran.code, "{line}");
        assert!(error["help"].is_string(), "{line}: {error}");
        assert_eq!(ran.err, "", "{line}");
        all.add(line, error);
    }
    all.print(&bench, "doctor --json");
    all.print(&bench, "keyring list --json");

    let schemas = schemas();
    for (name, documents) in &all.0 {
        let schema = schemas
            .get(name)
            .unwrap_or_else(|| panic!("schema of {name}"));
        for (line, document) in documents {
            schema
                .check(document)
                .unwrap_or_else(|fault| panic!("{line}: {fault}"));
        }
    }
    // `load` needs a kernel that takes something; a keyring may not be there.
    let host = ["keyring-list", "load"];
    for name in schemas.keys().filter(|name| !host.contains(&name.as_str())) {
        assert!(all.0.contains_key(name), "{name}");
    }
    // The check can fail: without a required field, with one more, with another type.
    let mut verdicts = all.0["verify"].iter();
    let (line, good) = verdicts.find(|row| row.1["verdict"] == "good").unwrap();
    let schema = &schemas["verify"];
    for (field, value) in [
        ("algorithm", Value::Null),
        ("covered_bytes", json!("7")),
        ("excl_prog_hash", json!("xy")),
        ("scheme", json!("rot13")),
        ("more", json!(1)),
        ("schema", json!("bpfseal/verify/2")),
        ("verdict", json!("rejected")),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        assert!(schema.check(&bad).is_err(), "{line}: {field}");
        bad.as_object_mut().unwrap().remove(field);
        assert!(schema.check(&bad).is_err() || field == "more", "{field}");
    }
}

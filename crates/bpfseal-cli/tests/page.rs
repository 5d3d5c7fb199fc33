//! `bpfseal inspect --html`: what is in the page, and what a browser makes of it.
//!
//! With Chromium (`cargo xtask test` installs it): no message on its console, links that lead
//! somewhere, the keyboard, search, folds, narrow and dark screens, paper, and no script at all.
//! Screenshots are left in `target/pages`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod browser;
mod common;

use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};
use browser::{Browser, ENTER, ESCAPE, TAB};
use common::Bench;
use serde_json::json;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

/// Pages of an object and of what is made of it, by name.
fn pages(bench: &Bench) -> Vec<(&'static str, String)> {
    bench.take(&testdata().join("objects/work_tracing.bpf.o"), "t.bpf.o");
    bench.good("seal t.bpf.o -k key.pem -i cert.pem --scheme all-kernels -o t.bpfseal");
    bench.good("seal t.bpf.o -k key.pem -i cert.pem -o t.seal");
    bench.take(&testdata().join("objects/plain.bpf.o"), "plain.bpf.o");
    let header = bench.good("gen skeleton -L sample.bpf.o");
    std::fs::write(bench.path("u.lskel.h"), header.raw).unwrap();
    let of = |name: &'static str, line: &str| {
        bench.good(&format!("inspect {line} --html {name}.html"));
        let text = std::fs::read_to_string(bench.path(&format!("{name}.html"))).unwrap();
        (name, text)
    };
    vec![
        of("object", "t.bpf.o"),
        of("bundle", "t.bpfseal"),
        of("detached", "t.bpf.o --seal t.seal"),
        of("unsigned", "u.lskel.h"),
        of("plain", "plain.bpf.o"),
    ]
}

/// Values of an attribute, as they are in the text.
fn values<'t>(text: &'t str, attribute: &str) -> Vec<&'t str> {
    let start = format!(" {attribute}=\"");
    let parts = text.split(start.as_str()).skip(1);
    parts.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn a_page_is_a_file_of_its_own() {
    let bench = Bench::new();
    for (name, text) in pages(&bench) {
        let ids = values(&text, "id");
        for link in values(&text, "href") {
            let id = link
                .strip_prefix('#')
                .unwrap_or_else(|| panic!("{name}: {link}"));
            assert!(ids.contains(&id), "{name}: no {id}");
        }
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), ids.len(), "{name}: ids are unique");
        for outside in ["src=", "@import", "url(", "<link", "<iframe"] {
            assert!(!text.contains(outside), "{name}: {outside}");
        }
        assert_eq!(text.matches("<script").count(), 1, "{name}");
    }
}

#[test]
fn a_page_says_what_there_is() {
    let bench = Bench::new();
    let all = pages(&bench);
    let has = |name: &str, what: &str| {
        let (_, text) = all.iter().find(|(known, _)| *known == name).unwrap();
        assert!(text.contains(what), "{name}: {what}");
    };
    for name in ["object", "bundle", "detached"] {
        has(name, "bpf_get_current_pid_tgid");
        has(
            name,
            "return (int)(bpf_get_current_pid_tgid() &gt;&gt; 32) == only_tgid;",
        );
        has(name, "work_tracing.bpf.c:");
        has(name, "__x64_sys_getpgid");
    }
    has("object", "fentry/__x64_sys_getpgid");
    has("bundle", "in-loader-exclusive");
    has("bundle", "raw_tp/sys_enter (not signed)");
    has("detached", "object with a detached seal");
    has("unsigned", "Nobody vouches for it");
    has("unsigned", "What the host can change");
    let (_, unsigned) = all.iter().find(|(name, _)| *name == "unsigned").unwrap();
    assert!(unsigned.contains("`max_entries` of map `calls`"));
    // To standard output; beside JSON; into a folder that is not there.
    let ran = bench.good("inspect t.bpf.o --html -");
    assert!(ran.out.starts_with("<!DOCTYPE html>"), "{}", ran.out);
    bench.bad("inspect t.bpf.o --html - --json", 2, &["--json"]);
    bench.bad(
        "inspect t.bpf.o --html no/where.html",
        3,
        &["no/where.html"],
    );
}

/// Names out of an object are text, whatever they are.
#[test]
fn a_page_is_safe_from_its_input() {
    let bench = Bench::new();
    let mut bytes = std::fs::read(bench.path("sample.bpf.o")).unwrap();
    let (name, evil) = (b"on_sys_enter", b"<img src='x'");
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(name.len()).position(|w| w == name) {
        bytes[at + found..at + found + name.len()].copy_from_slice(evil);
        at += found + name.len();
    }
    std::fs::write(bench.path("evil.bpf.o"), bytes).unwrap();
    let page = bench.good("inspect evil.bpf.o --html -").out;
    assert!(page.contains("&lt;img src="), "the name is there");
    assert!(!page.contains("<img"), "and is no element");
}

/// Leaves a picture to be looked at.
fn picture(browser: &Browser, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../pages");
    std::fs::create_dir_all(&folder).unwrap();
    let png = Base64::decode_vec(&browser.picture()).unwrap();
    assert!(png.len() > 10_000, "{name}: something is drawn");
    std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
}

/// A browser that shows the page of a bundle.
fn with_bundle() -> Option<(Browser, Bench)> {
    let browser = Browser::start()?;
    let bench = Bench::new();
    pages(&bench);
    browser.open(&bench.path("bundle.html"), "");
    Some((browser, bench))
}

/// Whether nothing is wider than the screen but what scrolls in itself.
fn fits(browser: &Browser) -> bool {
    browser.ask("document.documentElement.scrollWidth <= innerWidth") == true
}

#[test]
fn a_browser_shows_it() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let bench = Bench::new();
    for (name, _) in pages(&bench) {
        browser.open(&bench.path(&format!("{name}.html")), "");
        for (width, scheme) in [(1280, "light"), (1280, "dark"), (360, "light")] {
            browser.screen(width, "screen", scheme);
            assert!(fits(&browser), "{name}: {width}");
            picture(&browser, &format!("{name}-{width}-{scheme}"));
        }
        let dangling = "[...document.querySelectorAll('a[href]')]
            .filter(a => !document.getElementById(a.getAttribute('href').slice(1))).length";
        assert_eq!(browser.ask(dangling), 0, "{name}");
        // Texts stand apart from their ground (4.5 to 1, WCAG AA), light and dark.
        for scheme in ["light", "dark"] {
            browser.screen(1280, "screen", scheme);
            assert_eq!(browser.ask(POOR_CONTRAST), json!(""), "{name}, {scheme}");
        }
        let said = browser.console();
        assert!(said.is_empty(), "{name}: {said:?}");
    }
}

/// Texts whose contrast is below 4.5, as a script.
const POOR_CONTRAST: &str = r"(() => {
    const rgb = (text) => text.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const part = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const colour = rgb(getComputedStyle(node).backgroundColor);
            if (colour.length === 3 || colour[3] > 0) return colour;
        }
        return rgb(getComputedStyle(document.documentElement).colorScheme === 'dark' ? '0,0,0' : '255,255,255');
    };
    const poor = new Set();
    for (const node of document.querySelectorAll('body *')) {
        const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        if (!own || ['SCRIPT', 'title'].includes(node.tagName) || node.closest('svg')) continue;
        const [a, b] = [light(rgb(getComputedStyle(node).color)), light(ground(node))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) poor.add(`${node.tagName}.${node.className} ${ratio.toFixed(1)}`);
    }
    return [...poor].join(', ');
})()";

#[test]
fn it_is_searched_and_walked_by_keyboard() {
    let Some((browser, bench)) = with_bundle() else {
        return;
    };
    let page = bench.path("bundle.html");
    browser.screen(1280, "screen", "light");
    // The first key leads past the header.
    browser.press(TAB);
    assert_eq!(browser.ask("document.activeElement.className"), "skip");
    browser.press(ENTER);
    assert_eq!(browser.ask("location.hash"), "#content");
    // Everything that can be used is reached, in as many steps as there are things.
    browser.open(&page, "");
    let usable = "[...document.querySelectorAll('a[href], input, summary, [tabindex=\"0\"]')]
        .filter(node => node.checkVisibility()).length";
    let usable = browser.ask(usable).as_u64().unwrap();
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..usable {
        browser.press(TAB);
        let number = "[...document.querySelectorAll('*')].indexOf(document.activeElement)";
        reached.insert(browser.ask(number).as_u64().unwrap());
    }
    assert_eq!(reached.len() as u64, usable);
    // Search: by its key, with what is found unfolded and counted, and undone.
    browser.open(&page, "");
    browser.press("/");
    assert_eq!(browser.ask("document.activeElement.id"), "search");
    browser.press("pid_tgid");
    let wait = "new Promise(done =>
        setTimeout(() => done(document.getElementById('found').textContent), 400))";
    let found = browser.ask(wait);
    assert!(found.as_str().unwrap().ends_with(" found"), "{found}");
    let hits = browser.ask("document.querySelectorAll('.hit').length");
    assert!(hits.as_u64().unwrap() > 0);
    let open = |program: u32| {
        browser.ask(&format!(
            "document.querySelector('#program-{program} details').open"
        ))
    };
    assert_eq!(open(0), true);
    picture(&browser, "bundle-search");
    browser.press(ESCAPE);
    let marked = "document.querySelectorAll('.hit, .miss').length";
    assert_eq!(browser.ask(marked), 0);
    // A link to an instruction unfolds its program.
    browser.open(&page, "#p1-4");
    assert_eq!((open(0), open(1)), (json!(false), json!(true)));
    let said = browser.console();
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn it_is_printed_and_works_without_its_script() {
    let Some((browser, bench)) = with_bundle() else {
        return;
    };
    let page = bench.path("bundle.html");
    browser.screen(1280, "print", "dark");
    let height = browser.ask("document.querySelector('pre').getBoundingClientRect().height");
    assert!(
        height.as_f64().unwrap() > 50.0,
        "no folds on paper: {height}"
    );
    let nav = browser.ask("getComputedStyle(document.querySelector('nav')).display");
    assert_eq!(nav, "none");
    let ground = browser.ask("getComputedStyle(document.body).backgroundColor");
    assert_eq!(ground, "rgb(255, 255, 255)", "paper is white");
    picture(&browser, "bundle-print");

    browser.screen(1280, "screen", "light");
    let script = |off: bool| {
        browser.developer(
            "Emulation.setScriptExecutionDisabled",
            json!({ "value": off }),
        );
    };
    script(true);
    browser.open(&page, "");
    picture(&browser, "bundle-no-script");
    // A click unfolds by itself; there is no search that would do nothing.
    browser.click("#program-0 summary");
    script(false);
    let open = browser.ask("document.querySelector('#program-0 details').open");
    assert_eq!(open, true);
    let search = browser.ask("document.querySelector('.search').checkVisibility()");
    assert_eq!(search, false);
    assert!(fits(&browser));
    let said = browser.console();
    assert!(said.is_empty(), "{said:?}");
}

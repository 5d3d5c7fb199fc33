//! Chromium by its driver, as far as the tests of pages need it: commands of the W3C's WebDriver,
//! and the driver's own for what a screen is like.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// Where Debian has them.
const CHROMIUM: &str = "/usr/bin/chromium";
const DRIVER: &str = "/usr/bin/chromedriver";
/// Keys, as the standard names them.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const ESCAPE: &str = "\u{e00c}";

/// A browser, which ends with this.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    agent: ureq::Agent,
}

impl Browser {
    /// Starts one; none where there is none, which in CI is a failure.
    pub(crate) fn start() -> Option<Self> {
        if !Path::new(CHROMIUM).is_file() || !Path::new(DRIVER).is_file() {
            assert!(std::env::var_os("CI").is_none(), "chromium is not there");
            eprintln!("skipped: no chromium with its driver");
            return None;
        }
        let mut driver = Command::new(DRIVER)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("successfully on port ")?;
                Some(port.trim_end_matches('.').to_owned())
            })
            .unwrap();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(60)))
            .http_status_as_error(false);
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            agent: config.build().into(),
        };
        let quiet = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        let session = browser.post(
            "",
            &json!({ "capabilities": { "alwaysMatch": {
                "goog:chromeOptions": { "binary": CHROMIUM, "args": quiet },
                "goog:loggingPrefs": { "browser": "ALL" },
            }}}),
        );
        let id = session["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        let url = format!("{}{command}", self.session);
        let mut answer = self.agent.post(&url).send_json(body).unwrap();
        let status = answer.status();
        // Pictures of long pages are large.
        let body = answer.body_mut().with_config().limit(64 << 20);
        let body: Value = body.read_json().unwrap();
        assert!(status.is_success(), "{command}: {}", body["value"]);
        body["value"].clone()
    }

    /// Opens a file.
    pub(crate) fn open(&self, path: &Path, fragment: &str) {
        // From elsewhere, so that another fragment is another visit.
        self.post("/url", &json!({ "url": "about:blank" }));
        let url = format!("file://{}{fragment}", path.display());
        self.post("/url", &json!({ "url": url }));
    }

    /// The value of an expression; of a promise, what comes of it.
    pub(crate) fn ask(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub(crate) fn press(&self, keys: &str) {
        let key = |kind: &str, key: char| json!({ "type": kind, "value": key.to_string() });
        let actions = keys
            .chars()
            .flat_map(|k| [key("keyDown", k), key("keyUp", k)]);
        let actions: Vec<Value> = actions.collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("/actions", &json!({ "actions": [keyboard] }));
    }

    /// Clicks on an element.
    pub(crate) fn click(&self, selector: &str) {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.post("/element", &wanted);
        let id = found.as_object().unwrap().values().next().unwrap();
        let id = id.as_str().unwrap();
        self.post(&format!("/element/{id}/click"), &json!({}));
    }

    /// A command of the browser's own protocol.
    pub(crate) fn developer(&self, command: &str, parameters: Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        )
    }

    /// How wide the screen is, what medium, and whether light or dark.
    pub(crate) fn screen(&self, width: u32, medium: &str, scheme: &str) {
        let metrics = json!({
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500,
        });
        self.developer("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = json!({ "name": "prefers-color-scheme", "value": scheme });
        let media = json!({ "media": medium, "features": [scheme] });
        self.developer("Emulation.setEmulatedMedia", media);
    }

    /// A picture of the whole page, PNG in base64.
    pub(crate) fn picture(&self) -> String {
        let parameters = json!({ "captureBeyondViewport": true });
        let picture = self.developer("Page.captureScreenshot", parameters);
        picture["data"].as_str().unwrap().to_owned()
    }

    /// What the console said since it was asked last.
    pub(crate) fn console(&self) -> Vec<String> {
        let said = self.post("/se/log", &json!({ "type": "browser" }));
        let said = said.as_array().unwrap().iter();
        said.map(|line| line["message"].to_string()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

//! A real Chromium, driven by chromedriver.

use std::fmt::Debug;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use url::{ParseError, Url};

use crate::programs::Process;

/// How a visitor looks at a page.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) name: &'static str,
    pub(crate) width: u32,
    pub(crate) scheme: &'static str,
}

pub(crate) struct Browser {
    pub(crate) client: Client,
    /// chromedriver, which ends with this.
    process: Process,
    /// What Chromium writes.
    profile: TempDir,
}

/// Where it is, if it is there.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl Browser {
    pub(crate) async fn start(chromedriver: &Path, chromium: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let driver =
            Command::new(chromedriver).arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut process = Process(driver);
        let mut output = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let port: u16 = output
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok())
            .expect("chromedriver says its port");
        let options = json!({
            "binary": chromium,
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                format!("--user-data-dir={}", profile.path().display()),
            ],
        });
        let capabilities = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(serde_json::from_value(capabilities).unwrap())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        Browser { client, process, profile }
    }

    pub(crate) async fn close(self) {
        self.client.close().await.unwrap();
        drop((self.process, self.profile));
    }

    pub(crate) async fn look(&self, look: Look, height: u64) {
        let is_phone = look.width < 600;
        let metrics = json!({ "width": look.width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = json!([{ "name": "prefers-color-scheme", "value": look.scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": scheme })).await;
    }

    /// What a script on the page gives.
    pub(crate) async fn eval(&self, script: &str) -> Json {
        self.client.execute(&format!("return {script}"), Vec::new()).await.unwrap()
    }

    /// Waits until a condition on the page holds.
    pub(crate) async fn until(&self, condition: &str) {
        for _ in 0..400 {
            if self.eval(condition).await == json!(true) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("not reached: {condition}");
    }

    pub(crate) async fn press(&self, keys: &str) {
        self.client.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    /// What the console says since the last call: errors of scripts, violations of the content security policy, files
    /// that are missing.
    pub(crate) async fn console(&self) -> Vec<Json> {
        let log = self.vendor("se/log", json!({ "type": "browser" })).await;
        log.as_array().unwrap().clone()
    }

    /// A picture of the page as a whole, down to a limit.
    pub(crate) async fn screenshot(&self, look: Look, path: &Path) {
        let height = self.eval("document.documentElement.scrollHeight").await.as_u64().unwrap();
        self.look(look, height.clamp(400, 2500)).await;
        std::fs::write(path, self.client.screenshot().await.unwrap()).unwrap();
    }

    async fn devtools(&self, command: &str, params: Json) {
        self.vendor("goog/cdp/execute", json!({ "cmd": command, "params": params })).await;
    }

    async fn vendor(&self, path: &'static str, body: Json) -> Json {
        self.client.issue_cmd(Vendor { path, body }).await.unwrap()
    }
}

/// A command of chromedriver that is not in the standard.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Json,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

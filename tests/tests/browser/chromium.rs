//! A headless Chromium with its own profile, and helpers for the tests.

use std::{
    fs,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use orchestra_tests::{
    free_port,
    program::{Program, target_folder},
    skip, wait,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{
    By, CapabilitiesHelper, ChromiumLikeCapabilities, DesiredCapabilities, WebDriver, WebElement,
    cdp::Cdp,
};

const DRIVER: &str = "chromedriver";
/// Headless, without background requests to its vendor, and ended together with its driver.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1280,900",
];

/// Viewports: a wide screen and a phone.
pub(crate) const DESKTOP: (u32, u32) = (1280, 900);
pub(crate) const PHONE: (u32, u32) = (360, 740);

pub(crate) struct Browser {
    driver: WebDriver,
    base: String,
    port: u16,
    profile: TempDir,
    _program: Program,
}

impl Browser {
    /// Starts a new browser for this master. Returns `None`, and prints one line that says why, where
    /// there is no Chromium.
    pub(crate) async fn start(base: &str) -> Option<Self> {
        if !is_there() {
            return None;
        }
        let profile = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let mut command = Command::new(DRIVER);
        command.arg(format!("--port={port}")).stdin(Stdio::null());
        let program = Program::start(DRIVER, command, profile.path().join("driver.log"));
        let mut wanted = DesiredCapabilities::chrome();
        let folder = format!("--user-data-dir={}", profile.path().join("profile").display());
        for argument in ARGUMENTS.into_iter().chain([folder.as_str()]) {
            wanted.add_arg(argument).expect("an argument is a string");
        }
        wanted.set("goog:loggingPrefs", json!({"browser": "ALL"})).expect("it is JSON");
        let url = format!("http://127.0.0.1:{port}");
        // Several crates bring TLS into the build, so a crypto provider must be installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let driver = wait::until("a browser", wait::START, async || {
            WebDriver::new(&url, wanted.clone()).await.ok()
        })
        .await;
        let base = base.trim_end_matches('/').to_owned();
        Some(Self { driver, base, port, profile, _program: program })
    }

    pub(crate) async fn open(&self, path: &str) {
        let url = format!("{}{path}", self.base);
        self.driver.goto(url).await.expect("the page is loaded");
    }

    /// Path and query of the current page.
    pub(crate) async fn place(&self) -> String {
        let url = self.driver.current_url().await.expect("a page has an address");
        url.as_str().strip_prefix(&self.base).unwrap_or(url.as_str()).to_owned()
    }

    /// Runs a script and returns its result.
    pub(crate) async fn ask(&self, script: &str) -> Value {
        let answer = self.driver.execute(script, Vec::new()).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// Injects a script. The driver is not bound by the page's content security policy.
    pub(crate) async fn teach(&self, program: &str) {
        let taught = self.driver.execute(program, Vec::new()).await;
        taught.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits for the element.
    pub(crate) async fn element(&self, css: &str) -> WebElement {
        wait::until(css, wait::SOON, async || self.driver.find(By::Css(css)).await.ok()).await
    }

    /// Clicks the element, and looks for it again if it was replaced meanwhile.
    pub(crate) async fn click(&self, css: &str) {
        wait::until(css, wait::SOON, async || {
            self.driver.find(By::Css(css)).await.ok()?.click().await.ok()
        })
        .await;
    }

    pub(crate) async fn write(&self, css: &str, text: &str) {
        self.element(css).await.send_keys(text).await.expect("the field takes text");
    }

    /// Waits until the element contains this text; returns its whole text.
    pub(crate) async fn says(&self, css: &str, wanted: &str) -> String {
        let look = format!("return document.querySelector({})?.innerText ?? ''", json!(css));
        wait::until(&format!("{css} to say {wanted:?}"), wait::JOB, async || {
            let text = self.ask(&look).await.as_str().unwrap_or_default().to_owned();
            text.contains(wanted).then_some(text)
        })
        .await
    }

    /// Waits until the script returns true.
    pub(crate) async fn holds(&self, script: &str) {
        wait::until(script, wait::SOON, async || (self.ask(script).await == true).then_some(()))
            .await;
    }

    /// Presses the Tab key.
    pub(crate) async fn tab(&self) {
        self.press("Tab").await;
    }

    pub(crate) async fn press(&self, key: &str) {
        let code = if key == "Tab" { 9 } else { 13 };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text,
            });
            let sent = self.cdp().send_raw("Input.dispatchKeyEvent", event).await;
            sent.expect("the key is pressed");
        }
    }

    fn cdp(&self) -> Cdp {
        self.driver.cdp()
    }

    pub(crate) async fn screen(&self, (width, height): (u32, u32)) {
        let screen = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        let set = self.cdp().send_raw("Emulation.setDeviceMetricsOverride", screen).await;
        set.expect("the screen has another size");
    }

    pub(crate) async fn scheme(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        let set = self.cdp().send_raw("Emulation.setEmulatedMedia", features).await;
        set.expect("the reader prefers another scheme");
    }

    /// Saves a screenshot of the whole page in `target/screenshots`.
    pub(crate) async fn picture(&self, name: &str) {
        let folder = target_folder().join("screenshots");
        fs::create_dir_all(&folder).expect("a folder for pictures");
        let wanted = json!({"captureBeyondViewport": true});
        let picture = self.cdp().send_raw("Page.captureScreenshot", wanted).await;
        let picture = picture.expect("a picture");
        let png = decoded(picture["data"].as_str().expect("it is text"));
        fs::write(folder.join(format!("{name}.png")), png).expect("the picture is kept");
    }

    /// The errors in the browser's log: script errors and policy violations.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let url =
            format!("http://127.0.0.1:{}/session/{}/se/log", self.port, self.driver.session_id());
        let client = reqwest::Client::builder().no_proxy().build().expect("a plain client");
        let answer = client.post(url).json(&json!({"type": "browser"})).send().await;
        let answer: Value = answer.expect("the driver answers").json().await.expect("JSON");
        let lines = answer["value"].as_array().cloned().unwrap_or_default();
        let severe = lines.iter().filter(|line| line["level"] == "SEVERE");
        severe.map(|line| line["message"].to_string()).collect()
    }

    /// Closes the browser, and asserts that it logged no errors.
    pub(crate) async fn close(self) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "{complaints:#?}");
        self.driver.clone().quit().await.expect("the browser ends");
    }
}

/// Kills browsers that a failed test would leave behind: those with our profile folder.
impl Drop for Browser {
    fn drop(&mut self) {
        let ours = self.profile.path().display().to_string();
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(id) = process.file_name().to_string_lossy().parse::<i32>() else { continue };
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&ours)
                && let Some(id) = Pid::from_raw(id)
            {
                // It may have ended on its own.
                let _ = kill_process(id, Signal::KILL);
            }
        }
    }
}

fn is_there() -> bool {
    static TOLD: Mutex<bool> = Mutex::new(false);
    let found = |program: &str| {
        let asked = Command::new(program).arg("--version").stderr(Stdio::null()).output();
        asked.is_ok_and(|asked| asked.status.success())
    };
    if found(DRIVER) {
        return true;
    }
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if !std::mem::replace(&mut *told, true) {
        skip("browser", "there is no chromedriver; Debian has it as chromium-driver");
    }
    false
}

fn decoded(text: &str) -> Vec<u8> {
    base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text).expect("base64")
}

//! The `orchestra` program: built once, then started, signalled, or run to completion.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{repository, settings, wait};

/// The tests' lock file, beside cargo's build output.
const LOCK: &str = "orchestra-tests.lock";

/// Folder of the profile the tests were built with, for example `target/release`.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let deps = test.parent().and_then(Path::parent);
    deps.expect("a test is in target/<profile>/deps").to_owned()
}

/// Cargo's target folder, the parent of the profile folders.
///
/// # Panics
/// When the test executable is not in a target folder.
pub fn target_folder() -> PathBuf {
    let folder = profile_folder();
    folder.parent().expect("the profile folder is in the target folder").to_owned()
}

/// The cargo that runs the tests, without the package variables it set for this test. Some build
/// scripts (that of `ring`) run again when these differ, and everything would be rebuilt.
pub fn cargo() -> Command {
    let mut cargo = Command::new(settings::cargo());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of_us| name.starts_with(of_us)) {
            cargo.env_remove(&*name);
        }
    }
    cargo
}

/// Path of the program, built with the profile of the tests. Usually it is up to date already.
///
/// # Panics
/// When it does not build.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let folder = profile_folder();
        let profile = match folder.file_name().and_then(OsStr::to_str) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        // Not `cargo build --package orchestra-cli`: without the other members' test dependencies
        // cargo resolves other features and rebuilds everything.
        let status = cargo()
            .args(["test", "--no-run", "--quiet", "--workspace", "--profile", profile])
            .arg("--target-dir")
            .arg(target_folder())
            .current_dir(repository())
            .status()
            .expect("cargo can be started");
        assert!(status.success(), "cargo test --no-run: {status}");
        folder.join("orchestra")
    })
}

/// Builds the default job image, once for all tests and across processes.
///
/// # Panics
/// When it cannot be built; the message holds the command's output.
pub async fn job_image() {
    static BUILT: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    BUILT
        .get_or_init(async || {
            let lock = File::create(profile_folder().join(LOCK)).expect("the lock can be made");
            let taking = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
            let _lock = taking.await.expect("nothing to panic over").expect("files can be locked");
            let _ = run(command(["images", "build", "gcc"]), wait::IMAGE).await.expect(0);
        })
        .await;
}

/// A command that runs the program with these arguments and the repository's images, without any
/// setting of the person who runs the tests.
pub fn command<I, S>(arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    command_of(path(), arguments)
}

/// The same for another `orchestra` program.
pub fn command_of<I, S>(program: &Path, arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ORCHESTRA_") {
            command.env_remove(name);
        }
    }
    command.env("ORCHESTRA_IMAGES", repository().join("images"));
    command
}

/// Exit code and output of a finished program.
#[derive(Clone, Debug)]
pub struct Ran {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// # Panics
    /// When it ended with another code.
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// The error message of a program that could not do its work: exit code 125, one line on
    /// standard error, and no trace of a panic.
    ///
    /// # Panics
    /// When it is anything else.
    pub fn own_failure(self) -> String {
        let ran = self.expect(125);
        for word in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!ran.stderr.contains(word), "{}", ran.stderr);
        }
        let sentence = ran.stderr.trim();
        assert!(!sentence.is_empty(), "it ends with 125 and says nothing");
        assert_eq!(sentence.lines().count(), 1, "one sentence is enough: {sentence}");
        sentence.to_owned()
    }
}

/// Runs a command to completion, and kills it at the time limit.
///
/// # Panics
/// When it does not end `within` the limit.
pub async fn run(mut command: Command, within: Duration) -> Ran {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(within, command.kill_on_drop(true).output())
        .await
        .unwrap_or_else(|_| panic!("{name} does not end within {within:?}"))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A program that runs until it is told to stop. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it with both output streams appended to one file.
    pub fn start(name: &str, mut command: Command, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        command.stderr(file.try_clone().expect("a second handle")).stdout(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    /// Everything it has printed so far.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The PID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a child's id is positive");
        kill_process(pid, signal).expect("the child was not reaped yet");
    }

    /// The exit status; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child process can be waited for")
    }

    /// Sends SIGKILL and reaps the process.
    pub fn kill(&mut self) {
        // It may have ended on its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it handles SIGTERM (`SigCgt` in `proc_pid_status(5)`).
    fn listens(&self) -> bool {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        caught.is_some_and(|mask| mask & (1 << (Signal::TERM.as_raw() - 1)) != 0)
    }

    /// Sends SIGTERM and waits for a clean end.
    ///
    /// # Panics
    /// When it does not end with code 0 within [`wait::STOP`].
    pub async fn terminate(&mut self) {
        // A process that has not installed its handler yet would be killed by the signal.
        let limit = Instant::now() + wait::START;
        while self.ended().is_none() && !self.listens() && Instant::now() < limit {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if self.ended().is_none() {
            self.signal(Signal::TERM);
        }
        let what = format!("{} to end after SIGTERM", self.name);
        let status = wait::until(&what, wait::STOP, async || self.ended()).await;
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.printed());
    }
}

/// Memory use of a program, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The program's name.
    pub program: String,
    pub now: u64,
    /// Peak resident memory.
    pub peak: u64,
}

impl Program {
    /// Reads its memory use from `/proc`.
    ///
    /// # Panics
    /// When it is not running.
    pub fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the program runs");
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kib.expect("/proc gives it in KiB") << 10
        };
        Memory { program: self.name.clone(), now: bytes("VmRSS:"), peak: bytes("VmHWM:") }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} printed:\n{}---", self.name, self.printed());
        }
    }
}

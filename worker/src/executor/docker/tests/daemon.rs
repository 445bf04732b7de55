//! A container engine of one test's own, to be restarted, frozen and killed. It
//! lives in a network namespace of its own (a daemon without a bridge would remove
//! the host's), and all that it made is gone when it is dropped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::proxy::engine_address;

/// Starting it takes half a second on a quiet machine.
const SOON: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(50);
/// What job images start from, as far as these tests know.
const BASE: &str = "orchestra/base:bookworm";
/// All that the jobs of these tests need: the daemon copies its image for each.
const PACK: &str = r#"programs="/bin/bash /bin/sh /usr/bin/seq /bin/sleep /bin/touch"
    files="$programs $(ldd $programs | grep -o "/lib[^ :]*" | sort -u)"
    folders=$(for it in /usr /lib $(dirname $files); do echo $it; done | sort -u)
    tar -chf - --no-recursion $folders $files"#;

pub(super) struct Daemon {
    folder: TempDir,
    live_restore: bool,
    process: Option<Child>,
}

impl Daemon {
    /// With a small base image in it, made of `image` of the machine's engine. `None`
    /// where none can run: the lane says so, and is no success in CI.
    pub(super) fn start(live_restore: bool, image: &str) -> Option<Self> {
        let reason = if !rustix::process::geteuid().is_root() {
            "only root can run an engine of a test's own"
        } else if !found("dockerd") || !found("unshare") {
            "dockerd and unshare are needed for an engine of a test's own"
        } else {
            let folder = tempfile::tempdir().unwrap();
            let mut daemon = Self { folder, live_restore, process: None };
            daemon.run();
            daemon.import(image);
            return Some(daemon);
        };
        eprintln!("SKIPPED: {reason}");
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn address(&self) -> String {
        format!("unix://{}", self.path("engine.sock").display())
    }

    /// Starts it, and waits until it answers.
    pub(super) fn run(&mut self) {
        fs::write(self.path("daemon.json"), "{}").unwrap();
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let flag = |name: &str, file: &str| format!("--{name}={}", self.path(file).display());
        let mut command = Command::new("unshare");
        command
            .args(["--net", "dockerd", "--host", &self.address(), "--bridge=none"])
            .args(["--iptables=false", "--storage-driver=vfs"])
            .args([flag("config-file", "daemon.json"), flag("data-root", "data")])
            .args([flag("exec-root", "exec"), flag("pidfile", "pid")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if self.live_restore {
            command.arg("--live-restore");
        }
        self.process = Some(command.spawn().unwrap());
        let give_up = Instant::now() + SOON;
        while !docker(&self.address(), &["version"]).status().unwrap().success() {
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(Instant::now() < give_up, "it does not start: {}", log());
            pause();
        }
    }

    fn import(&self, image: &str) {
        let run = ["run", "--rm", "--network=none", image, "sh", "-c", PACK];
        let mut pack = docker(&engine_address(), &run).stdout(Stdio::piped()).spawn().unwrap();
        let mut import = docker(&self.address(), &["import", "-", BASE]);
        let imported = import.stdin(pack.stdout.take().unwrap()).status().unwrap();
        assert!(pack.wait().unwrap().success() && imported.success(), "no image for the daemon");
    }

    /// `unshare` has become the daemon itself.
    fn signal(&self, signal: rustix::process::Signal) {
        let process = self.process.as_ref().expect("it runs");
        let pid = rustix::process::Pid::from_child(process);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(super) fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub(super) fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// As `systemctl stop` does. Returns when it has ended.
    pub(super) fn terminate(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        self.process.take().expect("it runs").wait().unwrap();
    }

    pub(super) fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.process.take().expect("it runs").wait().unwrap();
        // Its containerd dies with it. The next one would take it for alive as long
        // as nobody has reaped it.
        for file in ["pid", "exec/containerd/containerd.pid"] {
            let _ = fs::remove_file(self.path(file));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "no executor waits for this thread")]
fn pause() {
    thread::sleep(PAUSE);
}

fn found(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

fn docker(host: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(["--host", host]).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Everything that names the folder in its command line: containerd, and what
/// holds the containers that are left. No other process knows the folder.
fn of_folder(folder: &Path) -> Vec<i32> {
    let name = folder.display().to_string();
    let process = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line).contains(&name).then_some(pid)
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    all.filter_map(process).filter(|pid| *pid != std::process::id().cast_signed()).collect()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.thaw();
            let left = docker(&self.address(), &["ps", "--all", "--quiet"])
                .stdout(Stdio::piped())
                .output()
                .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            for container in left.unwrap_or_default().lines() {
                let _ = docker(&self.address(), &["rm", "--force", container]).status();
            }
            self.terminate();
        }
        let folder = self.folder.path().to_owned();
        let give_up = Instant::now() + SOON;
        loop {
            let left = of_folder(&folder);
            if left.is_empty() || Instant::now() > give_up {
                break;
            }
            for pid in left.into_iter().filter_map(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            pause();
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for place in ours.filter(|place| Path::new(place).starts_with(&folder)).rev() {
            let _ = Command::new("umount").args(["--lazy", place]).status();
        }
    }
}

//! A container engine of the test's own, which it can restart, freeze, kill or give volume
//! plugins. It runs in its own network namespace (a daemon without a bridge would remove the
//! host's). Dropping it removes everything it made.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Namespace, is_root, settings, skip};

/// Limit for a start, which takes half a second on a quiet machine.
const SOON: Duration = Duration::from_mins(1);
const DOCKER: &str = "docker can be started";
const PAUSE: Duration = Duration::from_millis(50);
/// Base image of the job images used in these tests.
const BASE: &str = "orchestra/base:bookworm";
/// Packs the programs that these jobs and a worker in a container need into a minimal image.
/// The daemon copies its image for each container, so the image has to be small.
const PACK: &str = r#"programs="/bin/bash /bin/sh /usr/bin/seq /bin/sleep /bin/touch /bin/cat /bin/chmod
        /bin/mkdir /bin/mv /bin/stat /usr/bin/id /usr/bin/sha256sum /usr/bin/wc"
    ours=$(ls /lib/*/libgcc_s.so.1 /lib/*/libm.so.6)
    files="$programs $ours $(ldd $programs | grep -o "/lib[^ :]*" | sort -u)"
    folders=$(for it in /usr /lib $(dirname $files); do echo $it; done | sort -u)
    tar -chf - --no-recursion $folders $files"#;
/// Folder of the daemon's plugins.
const PLUGINS: &str = "plugins";
/// Mounts `$0` where every engine of a machine looks for plugins. The mount is visible only inside
/// the mount namespace that `unshare` makes.
const HIDE: &str = r#"mkdir -p /run/docker/plugins && mount --bind "$0" /run/docker/plugins &&
    exec "$@""#;

#[derive(Debug)]
pub struct Daemon {
    folder: TempDir,
    /// Additional command-line arguments.
    flags: Vec<&'static str>,
    /// Prefix of the command line that puts the daemon in its own namespaces.
    before: Vec<String>,
    process: Option<Child>,
}

/// How to take a daemon down.
#[derive(Clone, Copy, Debug)]
pub enum Down {
    Terminated,
    Killed,
}

impl Daemon {
    /// Stops and restarts the daemon without blocking the rest of the test.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restarted(mut self, down: Down) -> Self {
        let restart = move || {
            match down {
                Down::Terminated => self.terminate(),
                Down::Killed => self.kill(),
            }
            self.run();
            self
        };
        tokio::task::spawn_blocking(restart).await.expect("it starts again")
    }

    /// Starts a daemon that holds a small base image made from `image` of the machine's engine.
    /// Returns `None` where no daemon can run; this prints a skip line, and fails in CI.
    pub fn start(live_restore: bool, image: &str) -> Option<Self> {
        let flags = if live_restore { vec!["--live-restore"] } else { Vec::new() };
        Self::with(flags, image, |_| ["unshare", "--net"].map(str::to_owned).to_vec())
    }

    /// The same in this network namespace, with a plugin folder of its own. An engine keeps looking
    /// for a plugin that it once knew, and every volume request then takes half a minute. So no other
    /// engine of the machine may see these plugins, and this one ends with its test.
    pub fn with_plugins(namespace: &Namespace, image: &str) -> Option<Self> {
        let net = format!("--net={}", namespace.file().display());
        Self::with(Vec::new(), image, |folder| {
            let plugins = folder.join(PLUGINS).display().to_string();
            let own = ["nsenter", &net, "unshare", "--mount", "sh", "-c", HIDE, &plugins];
            own.map(str::to_owned).to_vec()
        })
    }

    fn with(
        flags: Vec<&'static str>,
        image: &str,
        before: impl FnOnce(&Path) -> Vec<String>,
    ) -> Option<Self> {
        const LANE: &str = "an engine of a test's own";
        if !is_root() {
            skip(LANE, "only root can run one");
            return None;
        }
        if !["dockerd", "nsenter", "unshare"].into_iter().all(found) {
            skip(LANE, "dockerd, nsenter and unshare are needed");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join(PLUGINS)).expect("the folder is ours");
        let before = before(folder.path());
        let mut daemon = Self { folder, flags, before, process: None };
        daemon.run();
        daemon.import(image);
        Some(daemon)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.path("engine.sock")
    }

    /// Where the daemon looks for plugins when started by [`Daemon::with_plugins`].
    pub fn plugins(&self) -> PathBuf {
        self.path(PLUGINS)
    }

    /// Starts the daemon and waits until it answers.
    fn run(&mut self) {
        fs::write(self.path("daemon.json"), "{}").expect("the folder is ours");
        let log =
            fs::File::options().create(true).append(true).open(self.path("log")).expect("a log");
        let flag = |name: &str, file: &str| format!("--{name}={}", self.path(file).display());
        let mut command = Command::new(&self.before[0]);
        command
            .args(&self.before[1..])
            .args(["dockerd", "--host", &self.address(), "--bridge=none"])
            .args(["--iptables=false", "--storage-driver=vfs"])
            .args([flag("config-file", "daemon.json"), flag("data-root", "data")])
            .args([flag("exec-root", "exec"), flag("pidfile", "pid")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .args(&self.flags);
        self.process = Some(command.spawn().expect("unshare and nsenter are there"));
        let give_up = Instant::now() + SOON;
        while !docker(&self.address(), &["version"]).status().is_ok_and(|it| it.success()) {
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(Instant::now() < give_up, "it does not start: {}", log());
            pause();
        }
    }

    fn import(&self, image: &str) {
        let run = ["run", "--rm", "--network=none", image, "sh", "-c", PACK];
        let mut pack =
            docker(&settings::engine(), &run).stdout(Stdio::piped()).spawn().expect(DOCKER);
        let mut import = docker(&self.address(), &["import", "-", BASE]);
        let imported =
            import.stdin(pack.stdout.take().expect("it is piped")).status().expect(DOCKER);
        assert!(
            pack.wait().expect(DOCKER).success() && imported.success(),
            "no image for the daemon"
        );
    }

    /// The ids of its containers, running or not.
    ///
    /// # Panics
    /// When they cannot be listed.
    pub fn containers(&self) -> Vec<String> {
        let mut list = docker(&self.address(), &["ps", "--all", "--quiet"]);
        let output = list.stdout(Stdio::piped()).output().expect(DOCKER);
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Signals the daemon: the prefix commands have replaced themselves with it by `exec`.
    fn signal(&self, signal: rustix::process::Signal) {
        let process = self.process.as_ref().expect("it runs");
        let pid = rustix::process::Pid::from_child(process);
        rustix::process::kill_process(pid, signal).expect("the process is not reaped yet");
    }

    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// Stops it as `systemctl stop` does. Returns when it has ended.
    fn terminate(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        self.process.take().expect("it runs").wait().expect("a child process can be waited for");
    }

    fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.process.take().expect("it runs").wait().expect("a child process can be waited for");
        // Its containerd dies with it. Until that is reaped, the next daemon would take it for alive.
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

/// The PIDs of all processes with this folder in their command line: containerd, and the shims of
/// the remaining containers. No other process knows the folder.
fn of_folder(folder: &Path) -> Vec<i32> {
    let name = folder.display().to_string();
    let process = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line).contains(&name).then_some(pid)
    };
    let all = fs::read_dir("/proc").expect("Linux has /proc").filter_map(Result::ok);
    all.filter_map(process).filter(|pid| *pid != std::process::id().cast_signed()).collect()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.thaw();
            for container in self.containers() {
                let _ = docker(&self.address(), &["rm", "--force", &container]).status();
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

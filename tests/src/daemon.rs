//! A container engine of one test's own, to be restarted, frozen and killed, or to be told of plugins. It
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

use crate::{Namespace, is_root, settings, skip};

/// Starting it takes half a second on a quiet machine.
const SOON: Duration = Duration::from_mins(1);
const DOCKER: &str = "docker can be started";
const PAUSE: Duration = Duration::from_millis(50);
/// What job images start from, as far as these tests know.
const BASE: &str = "orchestra/base:bookworm";
/// All that the jobs of these tests need, and a worker in a container: the daemon copies its image for each.
const PACK: &str = r#"programs="/bin/bash /bin/sh /usr/bin/seq /bin/sleep /bin/touch /bin/cat /bin/chmod
        /bin/mkdir /bin/mv /bin/stat /usr/bin/id /usr/bin/sha256sum /usr/bin/wc"
    ours=$(ls /lib/*/libgcc_s.so.1 /lib/*/libm.so.6)
    files="$programs $ours $(ldd $programs | grep -o "/lib[^ :]*" | sort -u)"
    folders=$(for it in /usr /lib $(dirname $files); do echo $it; done | sort -u)
    tar -chf - --no-recursion $folders $files"#;
/// The folder of its plugins.
const PLUGINS: &str = "plugins";
/// Puts `$0` where all engines of a machine look for plugins. Nobody sees it there who is outside of the mount
/// namespace, which changes nothing beyond itself (`unshare` sees to that).
const HIDE: &str = r#"mkdir -p /run/docker/plugins && mount --bind "$0" /run/docker/plugins &&
    exec "$@""#;

#[derive(Debug)]
pub struct Daemon {
    folder: TempDir,
    /// More arguments of its command line.
    flags: Vec<&'static str>,
    /// What stands before it: namespaces of its own.
    before: Vec<String>,
    process: Option<Child>,
}

/// How a daemon goes down.
#[derive(Clone, Copy, Debug)]
pub enum Down {
    Terminated,
    Killed,
}

impl Daemon {
    /// Ended and started again. What else the test does goes on meanwhile.
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

    /// With a small base image in it, made of `image` of the machine's engine. `None`
    /// where none can run: the lane says so, and is no success in CI.
    pub fn start(live_restore: bool, image: &str) -> Option<Self> {
        let flags = if live_restore { vec!["--live-restore"] } else { Vec::new() };
        Self::with(flags, image, |_| ["unshare", "--net"].map(str::to_owned).to_vec())
    }

    /// The same in this network namespace, with plugins in a folder of its own. An engine goes on looking for one
    /// that it once knew, and holds up for half a minute whoever asks for a volume meanwhile. So no other
    /// engine of the machine may ever see them, and this one ends with its test.
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

    /// Where it looks for plugins, after [`Daemon::with_plugins`].
    pub fn plugins(&self) -> PathBuf {
        self.path(PLUGINS)
    }

    /// Starts it, and waits until it answers.
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

    /// The containers in it, running or not, by id.
    ///
    /// # Panics
    /// When it does not list them.
    pub fn containers(&self) -> Vec<String> {
        let mut list = docker(&self.address(), &["ps", "--all", "--quiet"]);
        let output = list.stdout(Stdio::piped()).output().expect(DOCKER);
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// What stood before it has become the daemon itself.
    fn signal(&self, signal: rustix::process::Signal) {
        let process = self.process.as_ref().expect("it runs");
        let pid = rustix::process::Pid::from_child(process);
        rustix::process::kill_process(pid, signal).expect("it was not waited for yet");
    }

    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// As `systemctl stop` does. Returns when it has ended.
    fn terminate(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        self.process.take().expect("it runs").wait().expect("a child can be waited for");
    }

    fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.process.take().expect("it runs").wait().expect("a child can be waited for");
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
    let all = fs::read_dir("/proc").expect("Linux has it").filter_map(Result::ok);
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

//! One worker-files folder for several workers, as with several hosts: a network file system that each
//! of them mounts, and a volume of an engine's volume driver.

mod driver;
mod mounted;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use orchestra_contracts::JobStatus;
use orchestra_tests::{
    Namespace, Plan, Proxy, Stack, Way, daemon::Daemon, engine, program, repository, unique_name,
    wait,
};
use serde_json::{Value, json};

use self::{driver::Driver, mounted::Export};

/// The base of job images, which `program::job_image` makes.
const BASE: &str = "orchestra/base:bookworm";

/// Asserts that the next job on either of two hosts sees what a job on the other one left. `make`
/// builds the program `built/Hello`, which prints one line.
async fn is_one_folder(stack: &Stack, make: &str) {
    let on = |host: &str, command: &str| json!({"command": command, "requires": {"host": host}, "maxRetries": 0});
    let ran = async |spec: &Value| {
        let job = stack.api.run(spec).await;
        assert_eq!(job.status, JobStatus::Completed, "{job:?}");
        assert_eq!(job.warnings, [], "the workers say that they share it");
        job.output
    };
    let build = format!("mkdir -p built && {make} && sha256sum < built/Hello && id -u");
    let sum = ran(&on("a", &build)).await;
    let (sum, user) = sum.trim().rsplit_once('\n').expect("two lines");
    assert_ne!(user, "0");
    let look = "sha256sum < built/Hello && built/Hello | wc -l && stat -c %u built/Hello";
    let seen = ran(&on("b", look)).await;
    assert_eq!(seen, format!("{sum}\n1\n{user}\n"));
    // Back and forth: a file that was replaced on one host is read anew on the other.
    for round in 0..3 {
        ran(&on("a", &format!("echo {round} > new && mv new place"))).await;
        assert_eq!(ran(&on("b", "cat place && echo seen >> place")).await, format!("{round}\n"));
        assert_eq!(ran(&on("a", "cat place")).await, format!("{round}\nseen\n"));
    }
    // Artifacts are recorded and kept as from any folder.
    let mut spec = on("b", "echo kept > out.txt");
    spec["artifacts"] = json!(["out.txt"]);
    let job = stack.api.run(&spec).await;
    let kept = stack.cli(&["artifacts", &job.id.to_string(), "out.txt"]).await.expect(0);
    assert_eq!(kept.stdout, "kept\n");
}

/// Uses sshfs over SFTP, because nothing here can mount NFS.
#[tokio::test]
async fn two_mounts_of_a_network_file_system_are_one_worker_files() {
    let Some(mut stack) = Plan::default().workers(0).start().await else { return };
    if !engine::is_there().await {
        return;
    }
    program::job_image().await;
    let folder = stack.folder().join("export");
    fs::create_dir(&folder).expect("a new folder");
    fs::copy(repository().join("worker-files/Hello.cpp"), folder.join("Hello.cpp"))
        .expect("it is there");
    let Some(export) = Export::of(&folder) else { return };
    let a = export.mount(stack.folder().join("a")).await;
    let b = export.mount(stack.folder().join("b")).await;
    for (host, files) in [("a", a.path()), ("b", b.path())] {
        let said = doctor(&stack, files).await;
        assert!(said.contains("ok    worker-files"), "{said}");
        let settings = vec![
            ("ORCHESTRA_WORKER_FILES", files.display().to_string()),
            ("ORCHESTRA_LABELS", format!("host={host},files=sftp")),
        ];
        stack.add_worker_by(Way { settings, ..Way::default() }).await;
    }
    is_one_folder(&stack, "g++ Hello.cpp -o built/Hello").await;
    stack.stop().await;
    drop((a, b));
}

async fn doctor(stack: &Stack, files: &Path) -> String {
    let mut doctor = stack.command(&["doctor"]);
    doctor.env("ORCHESTRA_WORKER_FILES", files);
    program::run(doctor, wait::JOB).await.stdout
}

/// Like the compose file: the workers run in containers and mount the volume. The engine is the test's
/// own, so that no other engine learns of the driver.
///
/// Needs two threads: commands for the engine block while workers communicate through the proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_volume_of_a_driver_is_the_worker_files_of_two_workers() {
    if !engine::is_there().await {
        return;
    }
    program::job_image().await;
    let Some(elsewhere) = Namespace::new().await else { return };
    let plan = Plan::default().workers(0).setting("ORCHESTRA_HOSTS", elsewhere.host.to_string());
    let Some(stack) = plan.start().await else { return };
    let image = engine::images("gcc").await.swap_remove(0);
    let Some(own) = Daemon::with_plugins(&elsewhere, &image) else { return stack.stop().await };
    let door = Proxy::at(SocketAddr::from((elsewhere.host, 0)), stack.address()).await;
    let name = unique_name("driver");
    let driver = Driver::start(&own, &name, &stack.folder().join("remote"));
    let volume = driver.volume();
    let images = stack.folder().join("images");
    fs::create_dir_all(images.join("plain")).expect("a new folder");
    fs::write(images.join("plain/Dockerfile"), "ARG BASE\nFROM ${BASE}\n").expect("it is ours");
    let (url, hosts) = (format!("http://{}", door.address), ["a", "b"]);
    let hosts = hosts.map(|host| Contained::start(&own, host, &url, &images, &volume.name));
    wait::until("both workers to be online", wait::START, async || {
        let workers = stack.api.workers().await;
        (workers.iter().filter(|worker| worker.online).count() == 2).then_some(())
    })
    .await;
    is_one_folder(&stack, "printf '#!/bin/sh\nseq 1\n' > built/Hello && chmod +x built/Hello")
        .await;
    assert!(driver.root().join("place").exists(), "the driver mounted it");
    for host in &hosts {
        docker(&own, &["stop", "--time", "60", &host.name]);
    }
    drop(hosts);
    assert_eq!(own.containers(), [""; 0], "the workers removed all their containers");
    drop(volume);
    assert_eq!(driver.mounted(), 0, "as often mounted as unmounted");
    assert!(driver.was_mounted());
    drop(driver);
    drop(own);
    stack.stop().await;
    nobody_else_looks_for(&name);
}

/// Asserts that the machine's engine makes a volume at once. An engine that looks for a missing driver
/// would take half a minute.
fn nobody_else_looks_for(driver: &str) {
    let docker = |arguments: &[&str]| succeeds(Command::new("docker").args(arguments));
    let known = docker(&["info", "--format", "{{.Plugins.Volume}}"]);
    assert!(known.contains("local") && !known.contains(driver), "{known}");
    let (begun, volume) = (Instant::now(), format!("{driver}-after"));
    docker(&["volume", "create", &volume]);
    docker(&["volume", "rm", &volume]);
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
}

/// A worker in a container of this engine.
struct Contained<'a> {
    name: String,
    engine: &'a Daemon,
}

impl<'a> Contained<'a> {
    fn start(engine: &'a Daemon, host: &str, url: &str, images: &Path, volume: &str) -> Self {
        let name = unique_name("system-test");
        let mut run =
            vec!["run", "--detach", "--name", &name, "--network", "host", "--user", "0:0"];
        let mounts = [
            (volume.to_owned(), "/worker-files"),
            (engine.socket().display().to_string(), "/var/run/docker.sock"),
            (images.display().to_string(), "/images:ro"),
            (program::path().display().to_string(), "/usr/local/bin/orchestra:ro"),
        ];
        let mounts = mounts.map(|(from, to)| format!("--volume={from}:{to}"));
        let variables = [
            ("URL", url),
            ("WORKER_NAME", &name),
            ("WORKER_FILES", "/worker-files"),
            ("IMAGES", "/images"),
            ("DEFAULT_IMAGE", "plain"),
            ("LABELS", &format!("host={host},files=driver")),
        ];
        let variables = variables.map(|(name, value)| format!("--env=ORCHESTRA_{name}={value}"));
        run.extend(mounts.iter().chain(&variables).map(String::as_str));
        run.extend([BASE, "/usr/local/bin/orchestra", "worker"]);
        docker(engine, &run);
        Self { name, engine }
    }
}

impl Drop for Contained<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = of(self.engine, &["logs", &self.name]).status();
        }
        let _ = of(self.engine, &["rm", "--force", &self.name]).output();
    }
}

/// A command for this engine.
fn of(engine: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(["--host", &engine.address()]).args(arguments);
    command
}

/// Runs a command that must succeed.
fn docker(engine: &Daemon, arguments: &[&str]) {
    succeeds(&mut of(engine, arguments));
}

/// Runs a command that must succeed and returns its output.
fn succeeds(command: &mut Command) -> String {
    let ran = command.output().expect("it can be started");
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

//! One worker-files for several workers, as it would be on several hosts: over a network file system that
//! each of them mounts by itself, and as a volume of a driver of the engine's.

mod driver;
mod mounted;

use std::{path::Path, process::Command};

use orchestra_contracts::JobStatus;
use orchestra_tests::{
    Plan, Stack, Way, engine, is_root,
    program::{self},
    repository, skip, unique_name, wait,
};
use serde_json::{Value, json};

use self::{driver::Driver, mounted::Export};

/// The base of job images, which `program::job_image` has made.
const BASE: &str = "orchestra/base:bookworm";

/// What a job on each of two hosts leaves is there for the next one on the other.
async fn is_one_folder(stack: &Stack) {
    let on = |host: &str, command: &str| json!({"command": command, "requires": {"host": host}, "maxRetries": 0});
    let ran = async |spec: &Value| {
        let job = stack.api.run(spec).await;
        assert_eq!(job.status, JobStatus::Completed, "{job:?}");
        assert_eq!(job.warnings, [], "the workers say that they share it");
        job.output
    };
    let build =
        "mkdir -p built && g++ Hello.cpp -o built/Hello && sha256sum < built/Hello && id -u";
    let sum = ran(&on("a", build)).await;
    let (sum, user) = sum.trim().rsplit_once('\n').expect("two lines");
    assert_ne!(user, "0");
    let look = "sha256sum < built/Hello && built/Hello | wc -l && stat -c %u built/Hello";
    let seen = ran(&on("b", look)).await;
    assert_eq!(seen, format!("{sum}\n1\n{user}\n"));
    // Back and forth: what is put in a file's place is what the other reads.
    for round in 0..3 {
        ran(&on("a", &format!("echo {round} > new && mv new place"))).await;
        assert_eq!(ran(&on("b", "cat place && echo seen >> place")).await, format!("{round}\n"));
        assert_eq!(ran(&on("a", "cat place")).await, format!("{round}\nseen\n"));
    }
    // And what a job left is told and kept as from any folder.
    let mut spec = on("b", "echo kept > out.txt");
    spec["artifacts"] = json!(["out.txt"]);
    let job = stack.api.run(&spec).await;
    let kept = stack.cli(&["artifacts", &job.id.to_string(), "out.txt"]).await.expect(0);
    assert_eq!(kept.stdout, "kept\n");
}

/// Over SFTP, by sshfs: nothing here can mount NFS.
#[tokio::test]
async fn two_mounts_of_a_network_file_system_are_one_worker_files() {
    let Some(mut stack) = Plan::default().workers(0).start().await else { return };
    if !engine::is_there().await {
        return;
    }
    program::job_image().await;
    let folder = stack.folder().join("export");
    std::fs::create_dir(&folder).expect("a new folder");
    std::fs::copy(repository().join("worker-files/Hello.cpp"), folder.join("Hello.cpp"))
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
    is_one_folder(&stack).await;
    stack.stop().await;
    drop((a, b));
}

async fn doctor(stack: &Stack, files: &Path) -> String {
    let mut doctor = stack.command(&["doctor"]);
    doctor.env("ORCHESTRA_WORKER_FILES", files);
    program::run(doctor, wait::JOB).await.stdout
}

/// As compose has it: the workers are in containers themselves, and the volume is mounted there.
///
/// Not for an engine that others use: it looks for a driver that it once knew whenever it looks for a volume
/// that it does not know, for half a minute each time, until it is restarted.
#[tokio::test]
#[ignore = "the engine looks for the driver, in vain, until it is restarted"]
async fn a_volume_of_a_driver_is_the_worker_files_of_two_workers() {
    if !is_root() {
        return skip("volume driver", "only root may be a plugin of the engine's");
    }
    let Some(stack) = Plan::default().workers(0).start().await else { return };
    if !engine::is_there().await {
        return;
    }
    program::job_image().await;
    let driver = Driver::start(&unique_name("driver"), &stack.folder().join("remote"));
    let volume = driver.volume();
    let hosts = ["a", "b"].map(|host| Contained::start(&stack, host, &volume.0));
    wait::until("both workers to be online", wait::START, async || {
        let workers = stack.api.workers().await;
        (workers.iter().filter(|worker| worker.online).count() == 2).then_some(())
    })
    .await;
    is_one_folder(&stack).await;
    assert!(driver.root().join("place").exists(), "it went by the driver");
    for host in &hosts {
        host.stop();
        let left = engine::containers_left(&host.0).await;
        assert!(left.is_empty(), "{left:?}");
    }
    drop(hosts);
    drop(volume);
    assert_eq!(driver.mounted(), 0, "as often mounted as unmounted");
    assert!(driver.was_mounted());
    stack.stop().await;
}

/// A worker in a container, by its name.
struct Contained(String);

impl Contained {
    fn start(stack: &Stack, host: &str, volume: &str) -> Self {
        let name = unique_name("system-test");
        let socket = engine::socket().expect("an engine of this machine");
        let mut run = Command::new("docker");
        run.args(["run", "--detach", "--name", &name, "--network", "host", "--user", "0:0"]);
        for (from, to) in [
            (volume.to_owned(), "/worker-files"),
            (socket.display().to_string(), "/var/run/docker.sock"),
            (repository().join("images").display().to_string(), "/images:ro"),
            (program::path().display().to_string(), "/usr/local/bin/orchestra:ro"),
        ] {
            run.args(["--volume", &format!("{from}:{to}")]);
        }
        for (variable, value) in [
            ("ORCHESTRA_URL", stack.api.url("")),
            ("ORCHESTRA_WORKER_NAME", name.clone()),
            ("ORCHESTRA_WORKER_FILES", "/worker-files".to_owned()),
            ("ORCHESTRA_IMAGES", "/images".to_owned()),
            ("ORCHESTRA_LABELS", format!("host={host},files=driver")),
        ] {
            run.args(["--env", &format!("{variable}={value}")]);
        }
        run.args([BASE, "/usr/local/bin/orchestra", "worker"]);
        succeeds(&mut run);
        Self(name)
    }

    /// SIGTERM, and its end.
    fn stop(&self) {
        succeeds(Command::new("docker").args(["stop", "--time", "60", &self.0]));
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = Command::new("docker").args(["logs", &self.0]).status();
            engine::remove_containers(vec![self.0.clone()]);
        }
        let _ = Command::new("docker").args(["rm", "--force", &self.0]).output();
    }
}

fn succeeds(command: &mut Command) {
    let ran = command.output().expect("it can be started");
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

//! The real docker-compose.yml: a master and two workers from a ready binary, a job through them, and
//! nothing left behind.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use orchestra_contracts::{JobStatus, ProblemKind, worker::Worker};
use orchestra_tests::{
    Api, engine, free_port,
    program::{self, Ran},
    repository, skip, turn, unique_name, wait,
};
use serde_json::json;

/// Name of the job images' base when it was made without a registry.
const BOOTSTRAPPED: &str = "orchestra/base:bookworm";
const PULLED: &str = "debian:bookworm-slim";

/// The compose command of this machine: version 2, or else 1.29.
pub(crate) fn compose() -> Option<Vec<&'static str>> {
    let candidates = [vec!["docker", "compose"], vec!["docker-compose"]];
    candidates.into_iter().find(|words| {
        let version = Command::new(words[0])
            .args(&words[1..])
            .arg("version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    })
}

/// The base on which this machine builds service images.
pub(crate) async fn base() -> &'static str {
    if engine::has_image(BOOTSTRAPPED).await { BOOTSTRAPPED } else { PULLED }
}

/// A compose project in a folder of its own. Dropping it takes it down.
pub(crate) struct Project {
    words: Vec<&'static str>,
    pub(crate) name: String,
    image: String,
    pub(crate) port: u16,
    folder: tempfile::TempDir,
    pub(crate) base: &'static str,
    /// Variables that only this compose file reads.
    pub(crate) settings: Vec<(&'static str, String)>,
    file: &'static str,
}

impl Project {
    /// Makes a project from this file of the repository. The folder holds only it and these others.
    pub(crate) async fn new(words: Vec<&'static str>, file: &'static str, others: &[&str]) -> Self {
        let name = unique_name("compose-test");
        let base = base().await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let from = repository();
        let hello = "worker-files/Hello.cpp";
        for path in [file, "deploy/Dockerfile", ".dockerignore", hello].iter().chain(others) {
            copy(&from.join(path), &folder.path().join(path));
        }
        copy_folder(&from.join("images"), &folder.path().join("images"));
        copy(program::path(), &folder.path().join("deploy/bin/orchestra"));
        let image = format!("{name}:latest");
        let settings = Vec::new();
        Self { words, image, name, port: free_port(), folder, base, settings, file }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.words[0]);
        command
            .args(&self.words[1..])
            .args(["--file", self.file, "--project-name", &self.name])
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .env("ORCHESTRA_PORT", self.port.to_string())
            .env("ORCHESTRA_SERVICE_IMAGE", &self.image)
            .env("ORCHESTRA_BUILD_TARGET", "ready")
            .env("ORCHESTRA_BASE", self.base)
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Takes it down, and asserts that neither it nor its workers' jobs leave anything behind.
    pub(crate) async fn is_taken_down(&self, workers: &[Worker]) {
        let _ = self.run(&["down", "--volumes", "--rmi", "all"]).await.expect(0);
        for worker in workers {
            assert!(engine::containers_left(worker.name.as_str()).await.is_empty());
        }
        assert_eq!(engine::left_of_project(&self.name).await, Vec::<String>::new());
        assert!(!engine::has_image(&self.image).await);
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        program::run(self.command(arguments), wait::IMAGE).await
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for arguments in [&["logs"][..], &["down", "--volumes", "--rmi", "all"]] {
                let _ = self.command(arguments).status();
            }
        }
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("the file is in a folder")).expect("a folder");
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder of the repository") {
        let entry = entry.expect("a folder can be read to its end");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { copy_folder(&from, &to) } else { copy(&from, &to) }
    }
}

#[tokio::test]
async fn two_workers_from_the_compose_file() {
    let Some(words) = compose() else {
        return skip("compose", "there is neither docker compose nor docker-compose");
    };
    if !engine::is_there().await {
        return;
    }
    let _turn = turn().await;
    program::job_image().await;
    let project = Project::new(words, "docker-compose.yml", &[]).await;
    let up = ["up", "--build", "--detach", "--scale", "worker=2"];
    let _ = project.run(&up).await.expect(0);

    let address = format!("http://127.0.0.1:{}", project.port);
    let anybody = Api::new(address.clone());
    anybody.get("/api/job").await.problem(401, ProblemKind::Unauthenticated);
    let token =
        async |service: &str, file: &str| project.run(&["exec", "-T", service, "cat", file]).await;
    let client = token("master", "/tokens/client/token").await.expect(0).stdout;
    let api = Api::new(address).with_token(&client);
    let workers = wait::until("both workers to be online", wait::START, async || {
        let workers = api.try_workers().await?;
        (workers.iter().filter(|worker| worker.online).count() == 2).then_some(workers)
    })
    .await;
    // A worker sees only its own token.
    let worker = token("worker", "/tokens/worker/token").await.expect(0).stdout;
    assert_eq!(worker, token("master", "/tokens/worker/token").await.expect(0).stdout);
    assert_ne!(token("worker", "/tokens/admin/token").await.code, Some(0));
    let as_worker = anybody.with_token(&worker);
    as_worker.get("/api/job").await.problem(403, ProblemKind::Forbidden);

    let job = api.run(&json!({"command": "g++ Hello.cpp -o Hello && ./Hello && id -u"})).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:?}");
    assert!(job.output.starts_with("Hello") && !job.output.ends_with("\n0\n"), "{job:?}");
    assert!(project.path("worker-files/Hello").is_file());

    project.is_taken_down(&workers).await;
}

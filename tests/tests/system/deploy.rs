//! The files for larger installations: a stack, run on a swarm of one node, and Kubernetes manifests,
//! checked against the Kubernetes schemas.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use orchestra_contracts::JobStatus;
use orchestra_tests::{Api, engine, free_port, program, repository, skip, turn, wait};
use serde_json::json;

use crate::{cluster::ready, compose::Project};

const STACK: &str = "deploy/swarm/stack.yml";
const OTHERS: &[&str] = &[
    "deploy/cluster/haproxy.cfg",
    "deploy/cluster/ready/Dockerfile",
    "deploy/cluster/ready/postgres.sh",
];
const SECRETS: [&str; 5] = ["database", "key", "admin", "client", "worker"];
/// A swarm is slow to start, and restarts masters that come up before their database.
const UP: Duration = Duration::from_mins(3);

#[tokio::test]
async fn manifests_keep_to_the_schemas_of_kubernetes() {
    let mut there = Command::new("kubernetes-validate");
    there.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if !there.status().is_ok_and(|status| status.success()) {
        return skip("kubernetes", "pip install kubernetes-validate");
    }
    let mut validate = Command::new("kubernetes-validate");
    validate.arg("--strict").arg(repository().join("deploy/kubernetes/orchestra.yml"));
    let ran = program::run(validate, wait::COMMAND).await.expect(0);
    let passed =
        [&ran.stdout, &ran.stderr].into_iter().map(|text| text.matches(" passed ").count());
    assert_eq!(passed.sum::<usize>(), 4, "{ran:?}");
}

pub(crate) async fn docker(arguments: &[&str]) -> program::Ran {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null());
    program::run(command, wait::IMAGE).await
}

/// A swarm of this engine alone. Dropping it leaves the swarm.
struct Swarm;

impl Swarm {
    /// Returns `None` when the engine is already in somebody's swarm, or cannot start one.
    async fn begin() -> Option<Self> {
        let state = docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).await;
        if state.stdout.trim() != "inactive" {
            return None;
        }
        let begun = docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"]).await;
        (begun.code == Some(0)).then_some(Self)
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        for arguments in [&["swarm", "leave", "--force"][..], &["network", "rm", "docker_gwbridge"]]
        {
            let mut command = Command::new("docker");
            let _ = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// Creates the secrets as the head of the stack file says; returns the client's token.
async fn secrets(project: &Project) -> String {
    let mut client = String::new();
    for name in SECRETS {
        let digits = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let value = match name {
            "database" | "key" => digits,
            _ => format!("orchestra_{digits}"),
        };
        let file = project.path(name);
        std::fs::write(&file, &value).expect("a file of our own");
        let file = file.display().to_string();
        let _ = docker(&["secret", "create", &format!("orchestra-{name}"), &file]).await.expect(0);
        if name == "client" {
            client = value;
        }
    }
    client
}

#[tokio::test]
async fn a_stack_on_a_swarm_of_one_node_runs_jobs() {
    if !engine::is_there().await {
        return;
    }
    let _turn = turn().await;
    let Some(swarm) = Swarm::begin().await else {
        return skip("swarm", "this engine is in a swarm, or cannot be");
    };
    program::job_image().await;
    let project = Project::new(vec!["docker"], STACK, OTHERS).await;
    let service = format!("{}-service:latest", project.name);
    let (folder, base) =
        (project.path(".").display().to_string(), format!("BASE={}", project.base));
    let file = project.path("deploy/Dockerfile").display().to_string();
    let build = ["build", "-q", "-f", &file, "--target", "ready", "--build-arg", &base, "-t"];
    let _ = docker(&[&build[..], &[&service, &folder]].concat()).await.expect(0);
    let images = [
        ready(&project, "haproxy", "HAPROXY_IMAGE").await,
        ready(&project, "postgres", "POSTGRES_IMAGE").await,
        ("ORCHESTRA_SERVICE_IMAGE", service),
    ];
    let (port, client) = (free_port(), secrets(&project).await);
    let mut deploy = Command::new("docker");
    deploy.args(["stack", "deploy", "--resolve-image", "never", "-c", STACK, &project.name]);
    deploy.current_dir(project.path(".")).envs(images.clone());
    deploy
        .env("ORCHESTRA_PORT", port.to_string())
        .env("ORCHESTRA_DATABASE_NODE", "node.role == manager")
        .env("ORCHESTRA_FILES_FOLDER", project.path("worker-files"))
        .env("ORCHESTRA_IMAGES_FOLDER", project.path("images"));
    let _ = program::run(deploy, wait::IMAGE).await.expect(0);

    let api = Api::new(format!("http://127.0.0.1:{port}")).with_token(&client);
    wait::until("the worker to be online", UP, async || {
        api.try_workers().await?.iter().any(|worker| worker.online).then_some(())
    })
    .await;
    let job = api.run(&json!({"command": "g++ Hello.cpp -o Hello && ./Hello"})).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:?}");

    let _ = docker(&["stack", "rm", &project.name]).await.expect(0);
    let of_stack = format!("label=com.docker.stack.namespace={}", project.name);
    wait::until("the stack to be gone", wait::STOP, async || {
        let left = docker(&["ps", "--all", "--quiet", "--filter", &of_stack]).await;
        left.stdout.is_empty().then_some(())
    })
    .await;
    drop(swarm);
    let _ = docker(&["volume", "rm", &format!("{}_database", project.name)]).await.expect(0);
    for (_, image) in images {
        let _ = docker(&["rmi", "--force", &image]).await.expect(0);
    }
}

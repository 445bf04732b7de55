//! The real `deploy/cluster`: `PostgreSQL`, two masters behind a balancer, two workers and Prometheus,
//! with images built here. Runs a job through them, and another after one master is gone.

use std::{process::Command, time::Duration};

use orchestra_contracts::JobStatus;
use orchestra_tests::{Api, engine, free_port, program, skip, turn, wait};
use serde_json::{Value, json};

use crate::compose::{Project, compose};

const FILE: &str = "deploy/cluster/docker-compose.yml";
const OTHERS: &[&str] = &[
    "deploy/cluster/haproxy.cfg",
    "deploy/cluster/prometheus.yml",
    "deploy/cluster/ready/Dockerfile",
    "deploy/cluster/ready/postgres.sh",
    "deploy/monitoring/alerts.yml",
];
/// Limit for Prometheus's first scrapes.
const SCRAPED: Duration = Duration::from_mins(2);

/// Builds an image of deploy/cluster/ready and returns the variable that sets it.
pub(crate) async fn ready(
    project: &Project,
    target: &str,
    variable: &'static str,
) -> (&'static str, String) {
    let tag = format!("{}-{target}:latest", project.name);
    let mut build = Command::new("docker");
    build.args(["build", "--quiet", "--target", target, "--tag", &tag]);
    build.args(["--build-arg", &format!("BASE={}", project.base)]);
    build.arg(project.path("deploy/cluster/ready"));
    let _ = program::run(build, wait::IMAGE).await.expect(0);
    (variable, tag)
}

/// Queries Prometheus.
async fn ask(port: u16, path: &str) -> Option<Value> {
    let answer = Api::new(format!("http://127.0.0.1:{port}")).get(path).await;
    (answer.status == 200).then(|| answer.json())
}

fn up_targets(targets: &Value) -> usize {
    let active = targets["data"]["activeTargets"].as_array().map_or(&[][..], Vec::as_slice);
    active.iter().filter(|target| target["health"] == "up").count()
}

#[tokio::test]
async fn masters_share_a_database_behind_a_balancer() {
    let Some(words) = compose() else {
        return skip("cluster", "there is neither docker compose nor docker-compose");
    };
    if !engine::is_there().await {
        return;
    }
    let _turn = turn().await;
    program::job_image().await;
    let mut project = Project::new(words, FILE, OTHERS).await;
    let prometheus = free_port();
    for (target, variable) in [
        ("haproxy", "HAPROXY_IMAGE"),
        ("postgres", "POSTGRES_IMAGE"),
        ("prometheus", "PROMETHEUS_IMAGE"),
    ] {
        let image = ready(&project, target, variable).await;
        project.settings.push(image);
    }
    project.settings.push(("PROMETHEUS_PORT", prometheus.to_string()));
    project.settings.push(("ORCHESTRA_DATABASE_PASSWORD", project.name.clone()));
    let scales = ["--scale", "master=2", "--scale", "worker=2"];
    let up = [&["up", "--build", "--detach"][..], &scales].concat();
    let _ = project.run(&up).await.expect(0);

    let cat = ["exec", "-T", "master", "cat", "/tokens/client/token"];
    let token = project.run(&cat).await.expect(0).stdout;
    let api = Api::new(format!("http://127.0.0.1:{}", project.port)).with_token(&token);
    let workers = wait::until("both workers to be online", wait::START, async || {
        let workers = api.try_workers().await?;
        (workers.iter().filter(|worker| worker.online).count() == 2).then_some(workers)
    })
    .await;
    let job = api.run(&json!({"command": "g++ Hello.cpp -o Hello && ./Hello"})).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:?}");

    wait::until("Prometheus to see both masters", SCRAPED, async || {
        let targets = ask(prometheus, "/api/v1/targets").await?;
        (up_targets(&targets) == 2).then_some(())
    })
    .await;
    let rules = ask(prometheus, "/api/v1/rules").await.expect("it answers");
    assert!(!rules["data"]["groups"].as_array().expect("a list").is_empty(), "{rules}");

    // The balancer sends the killed master's requests to the other; clients notice nothing else.
    let masters = engine::of_service(&project.name, "master").await;
    assert_eq!(masters.len(), 2, "{masters:?}");
    let mut kill = Command::new("docker");
    kill.args(["kill", &masters[0]]);
    let _ = program::run(kill, wait::START).await.expect(0);
    wait::until("the other master to answer", wait::START, async || api.try_workers().await).await;
    let job = api.run(&json!({"command": "echo still here"})).await;
    assert_eq!((job.status, job.output.as_str()), (JobStatus::Completed, "still here\n"));
    project.is_taken_down(&workers).await;
}

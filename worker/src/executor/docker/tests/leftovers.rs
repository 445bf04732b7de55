//! Leftovers are removed, and what belongs to others is not.

use std::{collections::HashMap, sync::Arc};

use bollard::{models::ContainerCreateBody, query_parameters::KillContainerOptionsBuilder};
use orchestra_contracts::{JobSpec, Outcome};

use super::{
    super::{
        DockerExecutor, Parts,
        container::{PROCESS_LABEL, WORKER_LABEL},
        volume::Volume,
    },
    lab::Lab,
};
use crate::executor::Executor;

impl Lab {
    /// Leaves a container that is never started, as another process might have.
    async fn leave(&self, worker: &str, process: &str) -> String {
        let image = self.image().await;
        let name = format!("orchestra-left-{:08x}", rand::random::<u32>());
        let labels = [(WORKER_LABEL, worker), (PROCESS_LABEL, process)]
            .map(|(label, value)| (label.to_owned(), value.to_owned()));
        let body = ContainerCreateBody {
            image: Some(image),
            labels: Some(HashMap::from(labels)),
            ..ContainerCreateBody::default()
        };
        self.executor.keeper.engine.create(&name, body).await.unwrap();
        name
    }

    pub(super) async fn image(&self) -> String {
        let (progress, _) = tokio::sync::mpsc::channel(1);
        self.executor.images.ensure("plain", progress).await.unwrap().id
    }

    /// As `docker kill` does.
    pub(super) async fn kill_container(&self) {
        let name = self.container().await;
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        let engine = self.executor.keeper.engine.docker();
        engine.kill_container(name.trim_start_matches('/'), Some(options)).await.unwrap();
    }

    async fn exists(&self, name: &str) -> bool {
        self.executor.keeper.engine.inspect(name).await.is_ok()
    }

    async fn remove(&self, name: &str) {
        self.executor.keeper.engine.remove(name).await.unwrap();
    }

    /// Waits for removals that are under way.
    pub(super) async fn executor_is_quiet(&self) {
        while !self.containers().await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn the_sweep_takes_only_what_dead_processes_of_this_worker_left() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let ours = lab.executor.keeper.worker.to_string();
    let living = lab.executor.keeper.process.clone();
    let dead = format!("{living}0");
    let left = lab.leave(&ours, &dead).await;
    let of_another_worker = lab.leave(&format!("{ours}-2"), &dead).await;

    lab.executor.keeper.sweep().await.unwrap();
    assert!(!lab.exists(&left).await);
    assert!(lab.exists(&of_another_worker).await);
    lab.remove(&of_another_worker).await;
    lab.close().await;
}

/// As if the engine was still creating it for a worker that had been killed.
#[tokio::test]
async fn what_came_late_for_a_dead_process_is_gone_when_the_worker_has_ended() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.executor.tidy().await;
    let ours = lab.executor.keeper.worker.to_string();
    let left = lab.leave(&ours, &format!("{}0", lab.executor.keeper.process)).await;
    assert!(lab.exists(&left).await);
    // Closing checks that nothing is left.
    lab.close().await;
}

#[tokio::test]
async fn two_workers_of_one_name_leave_each_other_alone() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let ours = lab.executor.keeper.worker.to_string();
    let mut keeper = lab.executor.keeper.clone();
    // To another process, this one is alive.
    keeper.process = format!("{}0", keeper.process);
    let running = lab.leave(&ours, &lab.executor.keeper.process).await;
    keeper.sweep().await.unwrap();
    assert!(lab.exists(&running).await);
    lab.remove(&running).await;
    lab.close().await;
}

#[tokio::test]
async fn a_sweep_leaves_running_jobs_alone() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let command = "echo ready; until [ -e go ]; do sleep 0.05; done; echo done";
    let mut running = lab.start(JobSpec::new(command));
    running.until_output("ready\n").await;
    lab.executor.keeper.sweep().await.unwrap();
    std::fs::write(lab.files().join("go"), "").unwrap();
    assert_eq!(running.end().await.success(), "ready\ndone\n");
    lab.close().await;
}

#[tokio::test]
async fn a_container_that_somebody_removes_is_not_the_commands_failure() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let mut running = lab.start(JobSpec::new("echo ready; sleep 1000"));
    running.until_output("ready\n").await;
    for container in lab.containers().await {
        lab.remove(container.trim_start_matches('/')).await;
    }
    match running.end().await.outcome {
        Outcome::CouldNotStart { reason } => assert!(reason.contains("removed"), "{reason}"),
        outcome => panic!("{outcome:?}"),
    }
    lab.close().await;
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_nothing() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let mut running = lab.start(JobSpec::new("echo ready; sleep 1000"));
    running.until_output("ready\n").await;
    drop(running);
    lab.close().await;
}

#[tokio::test]
async fn the_volume_is_filled_once_and_again_after_it_was_pruned() {
    let Some(mut lab) = Lab::open(&[]).await else { return };
    let name = format!("orchestra-sandbox-test-{:08x}", rand::random::<u32>());
    let parts = Parts { volume: Volume::named(name.clone()), ..Parts::default() };
    lab.executor = Arc::new(DockerExecutor::start_with(&lab.config, parts).await.unwrap());
    let (one, two) = tokio::join!(lab.run("echo 1"), lab.run("echo 2"));
    assert_eq!((one.success(), two.success()), ("1\n".into(), "2\n".into()));

    lab.executor_is_quiet().await;
    lab.executor.keeper.engine.remove_volume(&name).await.unwrap();
    assert_eq!(lab.run("echo 3").await.success(), "3\n");

    lab.executor_is_quiet().await;
    lab.executor.keeper.engine.remove_volume(&name).await.unwrap();
    lab.close().await;
}

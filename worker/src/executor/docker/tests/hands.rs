//! Somebody interferes with a job's container from outside.

use std::time::Duration;

use orchestra_contracts::{JobSpec, Outcome, Span};
use tokio::time::{Instant, sleep, timeout};

use rstest::rstest;

use super::lab::{
    Lab,
    Start::{self, Cold, Warm},
};

/// Generous, because the machine may be busy. The failures to catch take minutes.
const SOON: Duration = Duration::from_mins(1);

impl Lab {
    async fn pause_container(&self) {
        let name = self.container().await;
        let engine = self.executor.keeper.engine.docker();
        engine.pause_container(name.trim_start_matches('/')).await.unwrap();
    }

    async fn unpause_container(&self) {
        let name = self.container().await;
        let engine = self.executor.keeper.engine.docker();
        engine.unpause_container(name.trim_start_matches('/')).await.unwrap();
    }
}

#[rstest]
#[tokio::test]
async fn a_container_that_somebody_kills_is_not_the_commands_failure(
    #[values(Cold, Warm)] start: Start,
) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let mut running = lab.start(JobSpec::new("echo ready; sleep 1000"));
    running.until_output("ready\n").await;
    lab.kill_container().await;
    match timeout(SOON, running.end()).await.unwrap().outcome {
        Outcome::CouldNotStart { reason } => assert!(reason.contains("killed"), "{reason}"),
        outcome => panic!("{outcome:?}"),
    }
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn a_container_that_is_paused_and_goes_on_has_lost_nothing(
    #[values(Cold, Warm)] start: Start,
) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let command = "echo ready; until [ -e go ]; do sleep 0.02; done; echo done";
    let mut running = lab.start(JobSpec::new(command));
    running.until_output("ready\n").await;
    lab.pause_container().await;
    std::fs::write(lab.files().join("go"), "").unwrap();
    // Long enough for the worker to check whether it still runs.
    let mut end = Box::pin(running.end());
    tokio::select! {
        _ = &mut end => panic!("it is paused"),
        () = sleep(Duration::from_secs(7)) => (),
    }
    lab.unpause_container().await;
    assert_eq!(timeout(SOON, &mut end).await.unwrap().success(), "ready\ndone\n");
    drop(end);
    lab.close().await;
}

#[tokio::test]
async fn a_container_that_stays_paused_runs_into_its_timeout() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let spec =
        JobSpec { timeout: Some(Span::from_secs(3)), ..JobSpec::new("echo ready; sleep 1000") };
    let mut running = lab.start(spec);
    running.until_output("ready\n").await;
    lab.pause_container().await;
    let paused = Instant::now();
    let seen = timeout(SOON, running.end()).await.unwrap();
    assert_eq!(seen.outcome, Outcome::TimedOut);
    assert!(paused.elapsed() < Duration::from_secs(40), "{:?}", paused.elapsed());
    assert!(lab.containers().await.is_empty(), "it is gone when the run returns");
    lab.close().await;
}

//! A real engine that is restarted, killed or frozen while jobs run.

use std::time::Duration;

use orchestra_contracts::{JobSpec, Outcome, frame::Stream};
use orchestra_tests::daemon::{Daemon, Down};
use rstest::rstest;
use tokio::time::{sleep, timeout};

use super::{
    super::Parts,
    lab::{Lab, output},
};
use crate::executor::Executor;

/// Generous, because the machine may be busy and a daemon gives its containers ten seconds.
const SOON: Duration = Duration::from_mins(2);
const WAIT_FOR_GO: &str = "until [ -e go ]; do sleep 0.02; done";

async fn lab_on_its_own(live_restore: bool) -> Option<(Lab, Daemon)> {
    lab_on_its_own_with(live_restore, &["--warm", "0"]).await
}

/// A lab with an engine of its own.
pub(super) async fn lab_on_its_own_with(
    live_restore: bool,
    arguments: &[&str],
) -> Option<(Lab, Daemon)> {
    // Reports it if there is no engine at all.
    let outer = Lab::open(&[]).await?;
    let image = outer.image().await;
    outer.close().await;
    let daemon = Daemon::start(live_restore, &image)?;
    let address = daemon.address();
    let arguments = [&["--engine", &address], arguments].concat();
    let lab = Lab::open_with(&arguments, Parts::default()).await?;
    Some((lab, daemon))
}

fn lines(last: u32) -> String {
    let lines: Vec<_> = (1..=last).map(|n| format!("{n}\n")).collect();
    lines.concat()
}

#[rstest]
#[tokio::test]
async fn a_container_that_survives_its_engine_goes_on_as_if_nothing_was(
    #[values(Down::Terminated, Down::Killed)] down: Down,
) {
    let Some((lab, daemon)) = lab_on_its_own(true).await else { return };
    let command = format!("seq 1 5000; {WAIT_FOR_GO}; seq 5001 9000; exit 4");
    let mut running = lab.start(JobSpec::new(command));
    running.until_output("\n5000\n").await;
    // By now the output is in the engine's log as well. What the engine still buffers dies with it.
    sleep(Duration::from_secs(1)).await;
    let mut end = Box::pin(running.end());
    let daemon = tokio::select! {
        daemon = daemon.restarted(down) => daemon,
        seen = &mut end => panic!("{:?}", seen.outcome),
    };
    lab.go();
    let seen = timeout(SOON, &mut end).await.unwrap();
    drop(end);
    assert_eq!(seen.outcome, Outcome::Exited { code: 4 });
    assert!(seen.stdout() == lines(9000), "{} bytes", seen.stdout().len());
    lab.close().await;
    drop(daemon);
}

/// Output that the engine has read and not yet passed on is lost with it. Then the attempt is over,
/// and its log contains nothing wrong.
#[tokio::test]
async fn output_in_the_hands_of_an_engine_that_is_killed_is_never_silently_missing() {
    let Some((lab, daemon)) = lab_on_its_own(true).await else { return };
    let command = "seq 1 100; i=100; until [ -e go ]; do i=$((i+1)); echo $i; done; echo end";
    let mut running = lab.start(JobSpec::new(command));
    running.until_lines(100).await;
    let mut end = Box::pin(running.end());
    tokio::select! {
        seen = &mut end => panic!("{:?}", seen.outcome),
        () = sleep(Duration::from_millis(300)) => (),
    }
    // It may be over as soon as the engine is back.
    let restart = async {
        let daemon = daemon.restarted(Down::Killed).await;
        lab.go();
        daemon
    };
    let (seen, daemon) = tokio::join!(timeout(SOON, &mut end), restart);
    let seen = seen.unwrap();
    drop(end);
    let arrived = String::from_utf8(output(&seen.frames, Stream::Stdout)).unwrap();
    let numbers = arrived.strip_suffix("end\n").unwrap_or(&arrived);
    let last = numbers.lines().count() as u32;
    assert!(lines(last + 1).starts_with(numbers), "it is a beginning of what it wrote");
    match seen.outcome {
        Outcome::Exited { code: 0 } => assert!(arrived.ends_with("end\n")),
        Outcome::CouldNotStart { reason } => assert!(!reason.contains("killed"), "{reason}"),
        outcome => panic!("{outcome:?}"),
    }
    lab.close().await;
    drop(daemon);
}

#[rstest]
#[tokio::test]
async fn a_job_that_goes_down_with_its_engine_is_on_our_budget(
    #[values(Down::Terminated, Down::Killed)] down: Down,
) {
    let Some((lab, daemon)) = lab_on_its_own(false).await else { return };
    let mut running = lab.start(JobSpec::new("echo ready; sleep 1000"));
    running.until_output("ready\n").await;
    let mut end = Box::pin(running.end());
    let (seen, daemon) = tokio::join!(timeout(SOON, &mut end), daemon.restarted(down));
    match seen.unwrap().outcome {
        Outcome::CouldNotStart { reason } => {
            assert!(reason.contains("the engine was restarted"), "{reason}");
        }
        outcome => panic!("{outcome:?}"),
    }
    drop(end);
    timeout(SOON, lab.executor.ready()).await.expect("it is well again");
    assert_eq!(lab.run("echo again").await.success(), "again\n");
    lab.close().await;
    drop(daemon);
}

#[tokio::test]
async fn an_engine_that_is_frozen_for_a_while_costs_nothing() {
    let Some((lab, daemon)) = lab_on_its_own(false).await else { return };
    let mut running = lab.start(JobSpec::new(format!("seq 1 100; {WAIT_FOR_GO}; seq 101 200")));
    running.until_output("\n100\n").await;
    daemon.freeze();
    let mut health = lab.executor.health();
    timeout(SOON, health.wait_for(Option::is_some)).await.expect("it notices").unwrap();
    lab.go();
    daemon.thaw();
    assert_eq!(timeout(SOON, running.end()).await.unwrap().success(), lines(200));
    lab.close().await;
    drop(daemon);
}

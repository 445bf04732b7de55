//! Every way to end has its outcome, and leaves nothing behind.

use std::time::Duration;

use orchestra_contracts::{JobSpec, Network, Outcome, Resources, Size, Span};
use rstest::rstest;
use tokio::time::{Instant, timeout};

use super::lab::{
    Lab,
    Start::{self, Cold, Warm},
};
use crate::control::{Control, Stop};

/// Generous, because the machine may be busy. The failures to catch take minutes.
const SOON: Duration = Duration::from_secs(30);

#[rstest]
#[tokio::test]
async fn codes_and_signals_are_the_commands_own(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    for (command, outcome) in [
        ("exit 1", Outcome::Exited { code: 1 }),
        ("exit 255", Outcome::Exited { code: 255 }),
        ("no-such-command", Outcome::Exited { code: 127 }),
        ("kill -9 $$", Outcome::Signalled { signal: 9 }),
        ("kill -9 1; kill -9 -1; exit 3", Outcome::Exited { code: 3 }),
    ] {
        let seen = lab.run(command).await;
        // The last of them may have killed its own shell as well.
        let own = command.contains("-9 -1") && matches!(seen.outcome, Outcome::Signalled { .. });
        assert!(seen.outcome == outcome || own, "{command}: {:?}", seen.outcome);
    }
    lab.close().await;
}

#[rstest]
#[case::the_shells_last_command("tail /dev/zero")]
#[case::a_child_and_the_shell_fails("tail /dev/zero; exit 1")]
#[case::a_child_and_the_shell_does_not_mind("tail /dev/zero; exit 0")]
#[case::a_child_of_a_child("bash -c 'tail /dev/zero; true'; true")]
#[tokio::test]
async fn too_much_memory_is_called_so(#[case] command: &str, #[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let memory = Some(Size::mib(32));
    let small = Resources { memory, ..Resources::default() };
    let spec = JobSpec { resources: small, ..JobSpec::new(command) };
    let seen = lab.run_spec(spec).await;
    assert_eq!(seen.outcome, Outcome::OutOfMemory, "{}", seen.notes());
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn a_timeout_ends_the_job_even_when_it_does_not_listen(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let timeout = Some(Span::from_secs(1));
    let spec = JobSpec { timeout, ..JobSpec::new("trap '' TERM; while :; do sleep 1; done") };
    let start = Instant::now();
    let seen = lab.run_spec(spec).await;
    assert_eq!(seen.outcome, Outcome::TimedOut);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert!(!seen.notes().is_empty(), "the log says what happened");
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn a_cancelled_job_may_clean_up(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let command = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let mut running = lab.start(JobSpec::new(command));
    running.until_output("ready\n").await;
    running.control.stop(Stop::Cancel);
    let seen = timeout(SOON, running.end()).await.unwrap();
    assert_eq!(seen.outcome, Outcome::Cancelled);
    assert!(seen.stdout().ends_with("bye\n"));
    lab.close().await;
}

#[tokio::test]
async fn a_job_that_is_cancelled_before_it_starts_never_does() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let running = lab.start(JobSpec::new("touch started"));
    running.control.stop(Stop::Cancel);
    let seen = running.end().await;
    assert_eq!((seen.outcome, seen.started), (Outcome::Cancelled, false));
    assert!(!lab.files().join("started").exists());
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn a_lost_or_handed_back_job_is_gone_when_the_run_returns(
    #[values(Cold, Warm)] start: Start,
) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    for (stop, outcome) in [(Stop::Lost, Outcome::Lost), (Stop::HandBack, Outcome::HandedBack)] {
        let mut running = lab.start(JobSpec::new("echo ready; sleep 1000"));
        running.until_output("ready\n").await;
        running.control.stop(stop);
        assert_eq!(timeout(SOON, running.end()).await.unwrap().outcome, outcome);
        assert!(lab.containers().await.is_empty());
    }
    lab.close().await;
}

/// Found by a soak test: the engine still had output for a reader that did not read, and took ten
/// seconds to notice the container's end, while the next attempt began elsewhere.
#[tokio::test]
async fn a_lost_job_whose_log_is_held_up_is_gone_at_once() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let mut running = lab.start(JobSpec::new("echo ready; exec yes"));
    running.until_lines(1).await;
    // From here on nobody reads its events, so every buffer on the way fills up.
    assert!(timeout(Duration::from_secs(3), &mut running.end).await.is_err());
    running.control.stop(Stop::Lost);
    let end = timeout(Duration::from_secs(8), &mut running.end).await;
    assert_eq!(end.expect("it is gone in less than ten seconds").outcome, Outcome::Lost);
    drop(running);
    assert!(lab.containers().await.is_empty());
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn a_sandbox_ends_itself_when_its_lease_is_not_renewed(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let control = Control::new(Instant::now() + Duration::from_secs(3));
    let running = lab.start_with(JobSpec::new("sleep 1000"), control);
    let seen = timeout(SOON, running.end()).await.unwrap();
    assert_eq!(seen.outcome, Outcome::Lost);
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn a_renewed_lease_reaches_the_sandbox(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let control = Control::new(Instant::now() + Duration::from_secs(8));
    let mut running = lab.start_with(JobSpec::new("echo ready; sleep 9; echo done"), control);
    running.until_output("ready\n").await;
    running.control.renew(Instant::now() + Duration::from_mins(1));
    assert_eq!(running.end().await.success(), "ready\ndone\n");
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn background_children_end_with_the_shell(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let start = Instant::now();
    let command =
        "sleep 1000 & setsid nohup bash -c 'sleep 2; touch late' >/dev/null 2>&1 & echo done";
    assert_eq!(lab.run(command).await.success(), "done\n");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    let files = lab.files();
    // Its container is gone, and with it everything that could still touch the file.
    lab.executor_is_quiet().await;
    assert!(!files.join("late").exists());
    lab.close().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_reason() {
    let Some(lab) = Lab::open(&["--max-memory", "1g"]).await else { return };
    let large = Resources { memory: Some(Size::mib(2048)), ..Resources::default() };
    let image = |name: &str| Some(name.to_owned());
    for (spec, reason) in [
        (JobSpec { resources: large, ..JobSpec::new("true") }, "resources.memory"),
        (JobSpec { network: Network::Bridge, ..JobSpec::new("true") }, "network"),
        (JobSpec { image: image("nowhere"), ..JobSpec::new("true") }, "nowhere"),
        (JobSpec { image: image("empty"), ..JobSpec::new("true") }, "sh"),
    ] {
        match lab.run_spec(spec).await.outcome {
            Outcome::Refused { reason: told } => assert!(told.contains(reason), "{told}"),
            outcome => panic!("{reason}: {outcome:?}"),
        }
    }
    lab.close().await;
}

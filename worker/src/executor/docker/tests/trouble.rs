//! An engine that loses answers, breaks streams, hangs, or is gone for a while.

use std::{fs, time::Duration};

use orchestra_contracts::{JobSpec, Outcome, Resources};
use rstest::rstest;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{
    super::{Parts, engine::CallLimits},
    lab::{LEASE, Lab, Running},
    proxy::{Fault, Proxy, engine_socket},
};
use crate::{
    control::{Control, Stop},
    executor::Executor,
};

/// Generous, because the machine may be busy. The failures to catch take minutes.
const SOON: Duration = Duration::from_mins(1);

/// Short time limits for the engine's answers.
const LIMITS: CallLimits =
    CallLimits { quick: Duration::from_secs(2), slow: Duration::from_secs(4) };

/// A lab with short time limits whose engine is behind a proxy.
async fn troubled() -> Option<(Lab, Proxy)> {
    troubled_with("0", LIMITS).await
}

/// The same, with exactly this many warm sandboxes.
async fn troubled_with(warm: &str, calls: CallLimits) -> Option<(Lab, Proxy)> {
    let Some(engine) = engine_socket() else {
        // Reports it if there is no engine; an engine without a socket is skipped.
        Lab::open(&[]).await?.close().await;
        return None;
    };
    let proxy = Proxy::before(&engine);
    let parts = Parts { calls, ..Parts::default() };
    let lab =
        Lab::open_with(&["--engine", &proxy.address(), "--warm", warm, "--max-warm", warm], parts)
            .await?;
    // Fill the volume first: these tests are about the container.
    assert_eq!(lab.run("echo warm").await.success(), "warm\n");
    lab.executor_is_quiet().await;
    Some((lab, proxy))
}

impl Lab {
    async fn until_unwell(&self) {
        let mut health = self.executor.health();
        timeout(SOON, health.wait_for(Option::is_some)).await.expect("it notices").unwrap();
    }

    async fn until_well(&self) {
        timeout(SOON, self.executor.ready()).await.expect("it notices");
    }
}

async fn end(running: Running<'_>) -> super::lab::Seen {
    timeout(SOON, running.end()).await.expect("it ends soon")
}

fn lines(last: u32) -> String {
    let lines: Vec<_> = (1..=last).map(|n| format!("{n}\n")).collect();
    lines.concat()
}

const WAIT_FOR_GO: &str = "until [ -e go ]; do sleep 0.02; done";

#[rstest]
#[case::create("/containers/create")]
#[case::attach("/attach")]
#[case::start("/start")]
#[tokio::test]
async fn an_answer_that_is_lost_costs_nothing(
    #[case] request: &str,
    #[values(&[Fault::LoseAnswer], &[Fault::Swallow], &[Fault::LoseAnswer, Fault::Hang])]
    faults: &[Fault],
) {
    let Some((lab, proxy)) = troubled().await else { return };
    proxy.plan(request, faults);
    let mut running = lab.start(JobSpec::new(format!("echo ready; {WAIT_FOR_GO}; echo done")));
    timeout(SOON, running.until_output("ready\n")).await.expect("it starts soon");
    assert!(proxy.is_through(), "the fault happened");
    assert_eq!(lab.containers().await.len(), 1, "there is one container of it and no more");
    lab.go();
    assert_eq!(end(running).await.success(), "ready\ndone\n");
    lab.close().await;
}

/// If its limits cannot be set, the job begins in another sandbox, and this one is removed. A
/// failed rename has no effect.
#[rstest]
#[tokio::test]
async fn a_hand_over_that_the_engine_does_not_answer_costs_nothing(
    #[values(Fault::LoseAnswer, Fault::Swallow, Fault::Hang)] fault: Fault,
    #[values(("/rename", 1), ("/update", 0))] (request, handed_over): (&str, u64),
) {
    let Some((lab, proxy)) = troubled_with("1", LIMITS).await else { return };
    lab.until_warm(1).await;
    let before = lab.executor.pool.handed_over();
    proxy.plan(request, &[fault]);
    let resources = Resources { pids: Some(100), ..Resources::default() };
    let spec = JobSpec { resources, ..JobSpec::new("echo once >> said; cat said") };
    assert_eq!(end(lab.start(spec)).await.success(), "once\n");
    assert!(proxy.is_through(), "the fault happened");
    assert_eq!(lab.executor.pool.handed_over(), before + handed_over);
    timeout(SOON, lab.executor_is_quiet()).await.expect("its container goes");
    lab.close().await;
}

#[tokio::test]
async fn a_container_that_is_created_after_all_is_swept() {
    let Some((lab, proxy)) = troubled().await else { return };
    let late = Fault::Late(Duration::from_secs(1));
    proxy.plan("/containers/create", &[Fault::Hang, Fault::Hang, late]);
    match end(lab.start(JobSpec::new("touch started"))).await.outcome {
        Outcome::CouldNotStart { reason } => assert!(reason.contains("engine"), "{reason}"),
        outcome => panic!("{outcome:?}"),
    }
    let appears = async {
        while lab.containers().await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, appears).await.expect("the late request makes it");
    // The attempt's own removal may still be under way, and owns the name until it ends.
    let goes = async {
        while !lab.containers().await.is_empty() {
            lab.executor.keeper.sweep().await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, goes).await.expect("a sweep takes it");
    assert!(!lab.files().join("started").exists());
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn a_stream_that_breaks_anywhere_loses_no_byte(
    #[values(150, 1_000, 20_000, 60_000)] bytes: usize,
) {
    let Some((lab, proxy)) = troubled().await else { return };
    proxy.plan("/attach", &[Fault::CutAfter(bytes)]);
    // The second stream breaks as well.
    proxy.plan("/logs", &[Fault::CutAfter(bytes + 7_000), Fault::CutAfter(bytes / 2 + 300)]);
    let command = format!("seq 1 12000; {WAIT_FOR_GO}; seq 12001 15000; exit 5");
    let mut running = lab.start(JobSpec::new(command));
    timeout(SOON, running.until_output("\n12000\n")).await.expect("it goes on soon");
    lab.go();
    let seen = end(running).await;
    assert_eq!(seen.outcome, Outcome::Exited { code: 5 });
    assert!(seen.stdout() == lines(15_000), "{} bytes", seen.stdout().len());
    assert!(proxy.is_through(), "it was cut three times");
    lab.close().await;
}

#[tokio::test]
async fn an_engine_that_is_gone_for_a_while_costs_nothing() {
    let Some((lab, mut proxy)) = troubled().await else { return };
    for socket in [true, false] {
        let _ = fs::remove_file(lab.files().join("go"));
        let command = format!("seq 1 100; {WAIT_FOR_GO}; seq 101 200");
        let mut running = lab.start(JobSpec::new(command));
        running.until_output("\n100\n").await;
        proxy.go_away(socket).await;
        lab.until_unwell().await;
        lab.go();
        proxy.come_back();
        assert_eq!(end(running).await.success(), lines(200));
        lab.until_well().await;
    }
    lab.close().await;
}

#[tokio::test]
async fn an_engine_that_hangs_for_a_while_costs_nothing() {
    let Some((lab, proxy)) = troubled().await else { return };
    let mut running = lab.start(JobSpec::new(format!("seq 1 100; {WAIT_FOR_GO}; seq 101 200")));
    running.until_output("\n100\n").await;
    proxy.hang();
    lab.until_unwell().await;
    lab.go();
    assert!(timeout(Duration::from_secs(1), lab.executor.ready()).await.is_err());
    proxy.go_on();
    assert_eq!(end(running).await.success(), lines(200));
    lab.until_well().await;
    lab.close().await;
}

#[rstest]
#[case::it_hangs(true)]
#[case::it_is_gone(false)]
#[tokio::test]
async fn an_engine_that_stays_dead_is_given_up_when_the_fence_has_ended_the_job(
    #[case] hangs: bool,
) {
    let Some((lab, mut proxy)) = troubled().await else { return };
    let lease = Duration::from_secs(8);
    let control = Control::new(Instant::now() + lease);
    let mut running =
        lab.start_with(JobSpec::new("echo ready; sleep 15; touch late; sleep 1000"), control);
    running.until_output("ready\n").await;
    if hangs {
        proxy.hang();
    } else {
        proxy.go_away(false).await;
    }
    // The worker's master is well: it renews.
    let control = running.control.clone();
    let renewing = async {
        loop {
            control.renew(Instant::now() + LEASE);
            sleep(Duration::from_secs(2)).await;
        }
    };
    lab.until_unwell().await;
    let seen = tokio::select! {
        seen = end(running) => seen,
        () = renewing => unreachable!(),
    };
    match seen.outcome {
        Outcome::CouldNotStart { reason } => {
            assert!(reason.contains("engine did not answer"), "{reason}");
        }
        outcome => panic!("{outcome:?}"),
    }
    if hangs {
        proxy.go_on();
    } else {
        proxy.come_back();
    }
    lab.until_well().await;
    timeout(SOON, lab.executor_is_quiet()).await.expect("what it left is removed");
    assert!(!lab.files().join("late").exists(), "its own fence ended it");
    lab.close().await;
}

#[tokio::test]
async fn what_was_claimed_as_the_engine_went_away_is_handed_back() {
    let Some((lab, mut proxy)) = troubled().await else { return };
    proxy.go_away(true).await;
    lab.until_unwell().await;
    assert_eq!(end(lab.start(JobSpec::new("true"))).await.outcome, Outcome::HandedBack);
    proxy.come_back();
    lab.close().await;
}

#[tokio::test]
async fn a_stream_that_goes_on_after_the_end_holds_nobody_up() {
    let Some((lab, proxy)) = troubled().await else { return };
    proxy.plan("/attach", &[Fault::KeepOpen]);
    let mut running = lab.start(JobSpec::new("echo ready; sleep 1000"));
    running.until_output("ready\n").await;
    lab.kill_container().await;
    match end(running).await.outcome {
        Outcome::CouldNotStart { reason } => assert!(reason.contains("killed"), "{reason}"),
        outcome => panic!("{outcome:?}"),
    }
    lab.close().await;
}

#[tokio::test]
async fn a_renewal_that_the_engine_holds_up_lengthens_no_lease() {
    let Some((lab, proxy)) = troubled().await else { return };
    let uptime = || fs::read_to_string("/proc/uptime").unwrap();
    let seconds = |uptime: &str| uptime.split(' ').next().unwrap().trim().parse::<f64>().unwrap();
    let (begun, boot) = (Instant::now(), seconds(&uptime()));
    let after = |seconds| begun + Duration::from_secs(seconds);
    let command = "echo ready; while :; do cat /proc/uptime >> alive; sleep 0.1; done";
    let mut running = lab.start_with(JobSpec::new(command), Control::new(after(9)));
    running.until_output("ready\n").await;
    proxy.hang();
    // Its worker sends this renewal, and then does nothing any more; it does not even repeat it.
    running.control.renew(after(12));
    assert!(timeout(Duration::from_secs(1), &mut running.end).await.is_err());
    // The renewal is delayed until the seventh second. Counted from then, the lease would last long
    // past the twelfth.
    sleep_until(after(7)).await;
    proxy.go_on();
    sleep_until(after(14)).await;
    let alive = fs::read_to_string(lab.files().join("alive")).unwrap();
    let lived = seconds(alive.lines().last().unwrap()) - boot;
    assert!((9.0..13.0).contains(&lived), "it lived for {lived} s of a lease of 12");
    assert_eq!(end(running).await.outcome, Outcome::Lost);
    lab.close().await;
}

/// Found by a soak test: the engine was asked about a quiet job's container and took ten seconds
/// not to answer. Meanwhile the job kept running, though its lease was lost and the next attempt
/// had begun.
#[tokio::test]
async fn a_lost_job_is_gone_at_once_though_the_engine_does_not_say_how_it_is() {
    let calls = CallLimits { quick: 2 * SOON, ..LIMITS };
    let Some((lab, proxy)) = troubled_with("0", calls).await else { return };
    let mut running = lab.start(JobSpec::new("echo ready; sleep 1000"));
    running.until_output("ready\n").await;
    let name = lab.containers().await.concat();
    proxy.plan(&format!("{name}/json"), &[Fault::Hang]);
    let asked = async {
        while !proxy.is_through() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        asked = timeout(SOON, asked) => asked.expect("the engine is asked about a quiet one"),
        _ = &mut running.end => panic!("it sleeps"),
    }
    running.control.stop(Stop::Lost);
    assert_eq!(end(running).await.outcome, Outcome::Lost);
    assert!(lab.containers().await.is_empty());
    lab.close().await;
}

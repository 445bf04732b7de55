//! Containers of killed processes, taken over by the next process.

use std::{fs, thread, time::Duration};

use bollard::query_parameters::KillContainerOptionsBuilder;
use orchestra_contracts::{JobSpec, Outcome, frame::Stream, worker::LogHead};
use rstest::rstest;
use tokio::{
    runtime,
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    super::{DockerExecutor, Parts, container::WORKER_LABEL, pool::Times, session::Made, sweep},
    lab::{
        LEASE, Lab, NAME, Running,
        Start::{self, Cold, Warm},
        output, run_spec, start_on,
    },
};
use crate::{
    Config,
    control::{Control, Stop},
    executor::{Executor, Left, Remains},
};

impl DockerExecutor {
    /// Starts an executor as in another process of this worker, which all others see as dead.
    pub(super) async fn start_dead(config: &Config, times: Times) -> Self {
        let process = format!("{}0", sweep::this_process());
        Self::start_with(config, Parts { times, process, ..Parts::default() }).await.unwrap()
    }

    /// Returns the number of warm sandboxes, once all of them wait.
    async fn until_warm(&self, config: &Config) -> u64 {
        let count = config.warm.warm.unwrap_or_default();
        while self.pool.waiting() != count as usize {
            sleep(Duration::from_millis(5)).await;
        }
        count.into()
    }
}

impl Lab {
    /// Another process of this worker starts the job, and is killed once the job has written
    /// `text`. Everything it held is gone at once, except the container.
    fn start_and_be_killed(&self, command: &str, text: &'static str, lease: Duration) {
        self.start_and_be_killed_with(JobSpec::new(command), text, lease);
    }

    pub(super) fn start_and_be_killed_with(
        &self,
        spec: JobSpec,
        text: &'static str,
        lease: Duration,
    ) {
        let config = self.config.clone();
        let process = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let executor = runtime.block_on(DockerExecutor::start_dead(&config, Times::default()));
            let warm = runtime.block_on(executor.until_warm(&config));
            let mut running = start_on(&executor, spec, Control::new(Instant::now() + lease));
            runtime.block_on(running.until_output(text));
            assert_eq!(executor.pool.handed_over(), warm);
            runtime.block_on(until_named(&executor));
            // Without a runtime nothing can remove the container any more.
            drop(runtime);
            drop(running);
        };
        thread::spawn(process).join().unwrap();
    }

    /// Another process of this worker prepares a sandbox, and is killed before it hands over the
    /// job.
    fn prepare_and_be_killed(&self, lease: Duration) {
        let (config, job) = (self.config.clone(), run_spec(JobSpec::new("true")));
        let process = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let executor = runtime.block_on(DockerExecutor::start_dead(&config, Times::default()));
            runtime.block_on(executor.until_warm(&config));
            let (events, _) = mpsc::channel(1);
            let orders = Control::new(Instant::now() + lease).subscribe();
            let prepared = runtime.block_on(executor.prepare(&job, &orders, &events));
            let made = prepared.as_ref().map(|prepared| prepared.sandbox.made);
            let ahead = made.is_ok_and(|made| made == Made::Ahead);
            assert_eq!(ahead, config.warm.warm != Some(0));
            drop(runtime);
            drop(prepared);
        };
        thread::spawn(process).join().unwrap();
    }

    pub(super) async fn find(&self) -> Left {
        self.executor.left_of(NAME.0, NAME.1).await
    }

    pub(super) async fn find_ours(&self) -> Box<dyn Remains> {
        match self.find().await {
            Left::Ours(remains) => remains,
            Left::NotOurs => panic!("it is not ours"),
            Left::Nothing => panic!("nothing is left"),
        }
    }

    /// Takes it back, with this many bytes of its output stored.
    pub(super) async fn take_back(&self, stored: u64) -> Running<'static> {
        let remains = self.find_ours().await;
        self.executor.tidy().await;
        let control = Control::new(Instant::now() + LEASE);
        let (sender, events) = mpsc::channel(4);
        let stored = LogHead { output: stored, ..LogHead::default() };
        let spec = run_spec(JobSpec::new("as the container knows"));
        let end = remains.resume(spec, stored, control.subscribe(), sender);
        Running::new(control, events, end)
    }

    /// The ids of its jobs' containers.
    async fn ids(&self) -> Vec<String> {
        let all = self.all_containers().await.into_iter();
        all.filter(|(name, _)| name.starts_with("/orchestra-7-1-")).map(|(_, id)| id).collect()
    }

    /// Opens a lab for several processes, each with or without warm sandboxes.
    async fn open_for_processes(start: Start) -> Option<Self> {
        Self::open_with(&["--warm", if start == Warm { "1" } else { "0" }], Parts::default()).await
    }

    async fn until_it_stopped(&self) {
        let container = self.ids().await.remove(0);
        loop {
            let described = self.executor.keeper.engine.inspect(&container).await.unwrap();
            if described.state.unwrap().running == Some(false) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn go(&self) {
        fs::write(self.files().join("go"), "").unwrap();
    }
}

/// Returns when the job's container is named after it, soon after the job got it.
async fn until_named(executor: &DockerExecutor) {
    let named = async || {
        let ours = format!("{WORKER_LABEL}={}", executor.keeper.worker);
        let all = executor.keeper.engine.labelled(&[ours]).await.unwrap();
        all.iter().any(|it| sweep::name_of(it).is_some_and(|it| it.starts_with("orchestra-7-1-")))
    };
    while !named().await {
        sleep(Duration::from_millis(5)).await;
    }
}

fn lines(range: std::ops::RangeInclusive<u32>) -> String {
    let lines: Vec<_> = range.map(|n| format!("{n}\n")).collect();
    lines.concat()
}

const WAIT_FOR_GO: &str = "until [ -e go ]; do sleep 0.02; done";

#[rstest]
#[case::nothing_is_stored(0)]
#[case::within_a_line(1)]
#[case::within_a_frame(300)]
#[case::all_that_there_is(692)]
#[tokio::test]
async fn the_log_is_exact_over_the_seam(#[case] stored: u64, #[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_for_processes(start).await else { return };
    let command = format!("seq 200; {WAIT_FOR_GO}; seq 201 400; exit 5");
    lab.start_and_be_killed(&command, "\n200\n", LEASE);
    assert_eq!(lines(1..=200).len(), 692);
    let before = lab.ids().await;
    let running = lab.take_back(stored).await;
    assert_eq!(lab.ids().await, before, "the same container");
    lab.go();
    let seen = running.end().await;
    assert_eq!(seen.outcome, Outcome::Exited { code: 5 });
    assert_eq!(seen.stdout(), lines(1..=400)[stored as usize..]);
    assert!(seen.frames.iter().map(|frame| frame.time).is_sorted());
    lab.close().await;
}

#[tokio::test]
async fn a_megabyte_of_any_bytes_is_read_back_exactly() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let bytes: Vec<u8> = (0..1 << 20).map(|_| next()).collect();
    fs::write(lab.files().join("bytes"), &bytes).unwrap();
    let command = format!("cat bytes; echo ready; {WAIT_FOR_GO}; cat bytes >&2");
    lab.start_and_be_killed(&command, "ready\n", LEASE);
    let running = lab.take_back(0).await;
    lab.go();
    let seen = running.end().await;
    assert_eq!(seen.outcome, Outcome::Exited { code: 0 });
    assert!(output(&seen.frames, Stream::Stdout) == [&bytes[..], b"ready\n"].concat());
    assert!(output(&seen.frames, Stream::Stderr) == bytes);
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn what_ended_while_nobody_looked_is_reported_as_it_ended(
    #[values(Cold, Warm)] start: Start,
) {
    let Some(lab) = Lab::open_for_processes(start).await else { return };
    let command = format!("echo hi; {WAIT_FOR_GO}; echo bye; exit 3");
    lab.start_and_be_killed(&command, "hi\n", LEASE);
    lab.go();
    lab.until_it_stopped().await;
    let seen = lab.take_back(3).await.end().await;
    assert_eq!(seen.outcome, Outcome::Exited { code: 3 });
    assert_eq!(seen.stdout(), "bye\n");
    assert!(seen.end.usage.is_some());
    lab.close().await;
}

#[tokio::test]
async fn what_went_down_without_a_word_is_told_at_once() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.start_and_be_killed("echo hi; sleep 1000", "hi\n", LEASE);
    let container = lab.ids().await.remove(0);
    let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
    let engine = lab.executor.keeper.engine.docker();
    engine.kill_container(&container, Some(options)).await.unwrap();
    lab.until_it_stopped().await;
    match lab.take_back(3).await.end().await.outcome {
        Outcome::CouldNotStart { reason } => assert!(reason.contains("code 137"), "{reason}"),
        outcome => panic!("{outcome:?}"),
    }
    lab.close().await;
}

/// Its deadline still comes from the process that was killed.
#[rstest]
#[tokio::test]
async fn its_lease_is_renewed_at_once(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_for_processes(start).await else { return };
    let lease = Duration::from_secs(10);
    lab.start_and_be_killed("echo hi; sleep 12; echo bye", "hi\n", lease);
    assert_eq!(lab.take_back(3).await.end().await.success(), "bye\n");
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn what_its_own_fence_ended_is_on_our_budget(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_for_processes(start).await else { return };
    lab.start_and_be_killed("echo hi; sleep 1000", "hi\n", Duration::from_secs(5));
    lab.until_it_stopped().await;
    match lab.take_back(3).await.end().await.outcome {
        Outcome::CouldNotStart { reason } => assert!(reason.contains("lease"), "{reason}"),
        outcome => panic!("{outcome:?}"),
    }
    lab.close().await;
}

#[tokio::test]
async fn it_hears_orders() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.start_and_be_killed("echo hi; sleep 1000", "hi\n", LEASE);
    let running = lab.take_back(3).await;
    running.control.stop(Stop::Cancel);
    assert_eq!(running.end().await.outcome, Outcome::Cancelled);
    lab.close().await;
}

#[tokio::test]
async fn a_log_that_lacks_what_is_stored_is_not_gone_on_with() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.start_and_be_killed(&format!("echo hi; {WAIT_FOR_GO}"), "hi\n", LEASE);
    let running = lab.take_back(1000).await;
    lab.go();
    match running.end().await.outcome {
        Outcome::CouldNotStart { reason } => assert!(reason.contains("missing"), "{reason}"),
        outcome => panic!("{outcome:?}"),
    }
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn a_living_process_keeps_its_container(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_for_processes(start).await else { return };
    assert!(matches!(lab.find().await, Left::Nothing));
    lab.start_and_be_killed(&format!("echo hi; {WAIT_FOR_GO}"), "hi\n", LEASE);
    let running = lab.take_back(3).await;
    // This process is alive, though the label names the dead one.
    let second = DockerExecutor::start(&lab.config).await.unwrap();
    assert!(matches!(second.left_of(NAME.0, NAME.1).await, Left::NotOurs));
    lab.go();
    assert_eq!(running.end().await.outcome, Outcome::Exited { code: 0 });
    second.close().await;
    lab.close().await;
}

#[tokio::test]
async fn a_sandbox_that_never_got_its_job_is_told_as_that() {
    let Some(lab) = Lab::open_for_processes(Cold).await else { return };
    lab.prepare_and_be_killed(LEASE);
    match lab.take_back(0).await.end().await.outcome {
        Outcome::CouldNotStart { reason } => assert!(reason.contains("never told"), "{reason}"),
        outcome => panic!("{outcome:?}"),
    }
    lab.close().await;
}

/// It belongs to no attempt: nothing is left of the attempt, whose lease runs out.
#[tokio::test]
async fn a_sandbox_that_waited_and_never_got_its_job_goes_with_those_that_wait() {
    let Some(lab) = Lab::open_for_processes(Warm).await else { return };
    lab.until_warm(1).await;
    let ours = lab.warm_ids().await;
    lab.prepare_and_be_killed(LEASE);
    assert_ne!(lab.warm_ids().await, ours);
    assert!(matches!(lab.find().await, Left::Nothing));
    lab.executor.tidy().await;
    assert_eq!(lab.warm_ids().await, ours);
    lab.close().await;
}

#[tokio::test]
async fn a_sandbox_that_never_got_its_job_ends_with_its_lease() {
    const SHORT: Duration = Duration::from_secs(5);
    let Some(lab) = Lab::open_for_processes(Cold).await else { return };
    let began = Instant::now();
    lab.prepare_and_be_killed(SHORT);
    let id = lab.ids().await.remove(0);
    let runs = async || {
        let state = lab.executor.keeper.engine.inspect(&id).await.unwrap().state;
        state.unwrap().running == Some(true)
    };
    assert!(runs().await, "it waits for its job");
    while runs().await {
        assert!(began.elapsed() < SHORT + Duration::from_secs(3), "it outlives its lease");
        sleep(Duration::from_millis(100)).await;
    }
    drop(lab.find_ours().await);
    lab.close().await;
}

#[tokio::test]
async fn what_is_found_and_given_up_is_removed() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.start_and_be_killed("echo hi; sleep 1000", "hi\n", LEASE);
    drop(lab.find_ours().await);
    lab.close().await;
}

//! A warm sandbox has its job once it says so, whatever its container's name is. These tests cover
//! sandboxes that end, fall silent or lose their worker at that moment.

use std::{thread, time::Duration};

use bollard::query_parameters::KillContainerOptionsBuilder;
use orchestra_contracts::{JobSpec, Outcome};
use rstest::rstest;
use tokio::{
    runtime,
    time::{Instant, sleep, timeout},
};

use super::{
    super::{
        DockerExecutor, Parts,
        engine::{CallLimits, LIMITS},
        pool::Times,
    },
    lab::{LEASE, Lab, NAME, Start::Warm, start_on},
    proxy::{Fault, Proxy, engine_socket},
};
use crate::{
    Config,
    control::Control,
    executor::{Executor, Left},
};

/// Generous, because the machine may be busy. The failures to catch take minutes.
const SOON: Duration = Duration::from_mins(1);
const ONCE: &str = "echo once >> said; cat said";
const WAIT_FOR_GO: &str = "until [ -e go ]; do sleep 0.02; done";

impl Lab {
    /// Another process of this worker hands a job over, and is killed when the job says that it is
    /// ready, before the container could be renamed. `is_dead` says whether others see that process
    /// as dead.
    fn hand_over_and_be_killed(&self, command: String, is_dead: bool) {
        let proxy = Proxy::before(&engine_socket().unwrap());
        let mut config: Config = self.config.clone();
        config.engine = proxy.address();
        config.warm.warm = Some(1);
        let living = self.executor.keeper.process.clone();
        let killed = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let executor = runtime.block_on(async {
                if is_dead {
                    return DockerExecutor::start_dead(&config, Times::default()).await;
                }
                let parts = Parts { process: living, ..Parts::default() };
                DockerExecutor::start_with(&config, parts).await.unwrap()
            });
            while executor.pool.waiting() == 0 {
                runtime.block_on(async { sleep(Duration::from_millis(5)).await });
            }
            proxy.plan("/rename", &[Fault::Hang; 3]);
            let control = Control::new(Instant::now() + LEASE);
            let mut running = start_on(&executor, JobSpec::new(command), control);
            runtime.block_on(running.until_output("ready\n"));
            assert_eq!(executor.pool.handed_over(), 1);
            // Without a runtime nothing can remove the container any more.
            drop(runtime);
            drop(running);
        };
        // The proxy runs on this runtime, because one of its own would end with it.
        thread::scope(|scope| scope.spawn(killed).join()).unwrap();
    }

    async fn kill_by_id(&self, id: &str) {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        self.executor.keeper.engine.docker().kill_container(id, Some(options)).await.unwrap();
    }
}

/// The next process identifies it by its first events, and names it after its job.
#[rstest]
#[case::it_runs(false)]
#[case::it_has_ended(true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_worker_was_killed_before_it_was_renamed_is_taken_back(#[case] ended: bool) {
    let Some(lab) = Lab::open(&[]).await else { return };
    let command = format!("seq 100; echo ready; {WAIT_FOR_GO}; echo done; exit 5");
    lab.hand_over_and_be_killed(command, true);
    let ids = lab.warm_ids().await;
    assert!(!ids.is_empty(), "it is called as if it waited");
    if ended {
        lab.go();
        let state = async || lab.executor.keeper.engine.inspect(&ids[0]).await.unwrap().state;
        while state().await.unwrap().running == Some(true) {
            sleep(Duration::from_millis(20)).await;
        }
    }
    // Everything that is stored: the lines of `seq`, and one more.
    let running = lab.take_back(292).await;
    let name = lab.container().await;
    assert!(name.starts_with("/orchestra-7-1-"), "{name}");
    lab.go();
    let seen = timeout(SOON, running.end()).await.unwrap();
    assert_eq!(seen.outcome, Outcome::Exited { code: 5 });
    assert_eq!(seen.stdout(), "ready\ndone\n");
    // The engine may have created another one for the killed process after the first sweep.
    let swept = async {
        while !lab.warm_ids().await.is_empty() {
            lab.executor.keeper.sweep().await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, swept).await.expect("a sweep leaves no other");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_not_renamed_is_left_to_a_process_that_lives() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.hand_over_and_be_killed("echo ready; sleep 1000".to_owned(), false);
    assert_eq!(lab.warm_ids().await.len(), 1, "it has the job");
    let second = DockerExecutor::start(&lab.config).await.unwrap();
    assert!(matches!(second.left_of(NAME.0, NAME.1).await, Left::NotOurs));
    assert!(matches!(
        second.left_of(NAME.0, orchestra_contracts::AttemptNo(2)).await,
        Left::Nothing
    ));
    assert_eq!(lab.warm_ids().await.len(), 1);
    // To the sweep it belongs to this very process, which does not know it.
    second.close().await;
    lab.close().await;
}

/// It is paused when its job is sent, and killed then: nothing of the job has begun.
#[rstest]
#[tokio::test]
async fn one_that_goes_before_it_takes_its_job_costs_it_nothing(
    #[values(false, true)] remove: bool,
) {
    let Some(lab) = Lab::open_with(&["--warm", "1"], Parts::default()).await else { return };
    lab.until_warm(1).await;
    let id = lab.warm_ids().await.remove(0);
    lab.executor.keeper.engine.docker().pause_container(&id).await.unwrap();
    let goes = async {
        sleep(Duration::from_millis(300)).await;
        if remove {
            lab.executor.keeper.engine.remove(&id).await.unwrap();
        } else {
            // The engine unpauses it only to kill it.
            lab.kill_by_id(&id).await;
        }
    };
    let (seen, ()) = tokio::join!(lab.start(JobSpec::new(ONCE)).end(), goes);
    assert_eq!(seen.success(), "once\n");
    lab.close().await;
}

/// Whether it has begun is unknown, so the job begins nowhere else.
#[tokio::test]
async fn one_that_says_nothing_for_long_keeps_its_job() {
    let Some(lab) = Lab::open_to(Warm, &[]).await else { return };
    let id = lab.warm_ids().await.remove(0);
    lab.executor.keeper.engine.docker().pause_container(&id).await.unwrap();
    let goes_on = async {
        sleep(Duration::from_secs(4)).await;
        lab.executor.keeper.engine.docker().unpause_container(&id).await.unwrap();
    };
    let began = Instant::now();
    let (seen, ()) = tokio::join!(lab.start(JobSpec::new(ONCE)).end(), goes_on);
    assert_eq!(seen.success(), "once\n");
    assert!(began.elapsed() >= Duration::from_secs(4), "it was begun elsewhere");
    lab.close().await;
}

/// Before `Ready`, between `Ready` and `Taken`, and after that.
#[tokio::test]
async fn a_stream_that_breaks_at_the_hand_over_costs_nothing() {
    let Some(socket) = engine_socket() else {
        let Some(lab) = Lab::open(&[]).await else { return };
        return lab.close().await;
    };
    let proxy = Proxy::before(&socket);
    let parts = Parts { calls: CallLimits { ..LIMITS }, ..Parts::default() };
    let arguments = ["--engine", &proxy.address(), "--warm", "1"];
    let Some(lab) = Lab::open_with(&arguments, parts).await else { return };
    for bytes in (120..280).step_by(20) {
        lab.until_warm(1).await;
        proxy.plan("/attach?", &[Fault::CutAfter(bytes)]);
        // Takes the waiting sandbox, so that the next one meets the fault.
        assert_eq!(lab.run("true").await.success(), "");
        while !proxy.is_through() || lab.executor.pool.waiting() != 1 {
            sleep(Duration::from_millis(5)).await;
        }
        let _ = std::fs::remove_file(lab.files().join("said"));
        let seen = timeout(SOON, lab.start(JobSpec::new(ONCE)).end()).await.unwrap();
        assert_eq!(seen.success(), "once\n", "cut after {bytes}");
    }
    lab.close().await;
}

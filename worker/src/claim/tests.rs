//! A worker against a scripted master, with scripted jobs and a held clock.

use orchestra_contracts::{
    JobId, JobStatus, Outcome, Span,
    worker::{HeartbeatReply, JobUpdate},
};
use rstest::rstest;
use tokio::task::JoinHandle;

use super::*;
use crate::testing::{Append, FakeMaster, ScriptedExecutor, claimed, worker};

mod along;
mod artifacts;
mod clocks;
mod offers;
mod take_back;
mod unwell;

struct Scene {
    master: Arc<FakeMaster>,
    executor: Arc<ScriptedExecutor>,
    soft: CancellationToken,
    hard: CancellationToken,
    serving: JoinHandle<()>,
}

const GRACE: Duration = Duration::from_secs(10);

impl Scene {
    fn new(slots: u32, script: &[Append]) -> Self {
        Self::between(slots, FakeMaster::scripted(script), Arc::default())
    }

    fn between(slots: u32, master: Arc<FakeMaster>, executor: Arc<ScriptedExecutor>) -> Self {
        let registration =
            Registration { slots, queues: vec!["default".into()], ..Registration::default() };
        let terms = Terms { name: worker("w"), registration, grace: GRACE };
        let serving = Worker::new(master.clone(), executor.clone(), terms);
        let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
        let serving = spawn(serving.serve(soft.clone(), hard.clone()));
        Self { master, executor, soft, hard, serving }
    }

    fn offer(&self, job: i64, script: &str) {
        self.master.offer(claimed(job, script));
    }

    async fn finished(&self, job: i64) -> JobUpdate {
        self.master.updated(job, JobStatus::Completed).await
    }

    async fn end(self) -> (Arc<FakeMaster>, Arc<ScriptedExecutor>) {
        self.soft.cancel();
        self.serving.await.unwrap();
        (self.master, self.executor)
    }
}

#[expect(clippy::disallowed_methods, reason = "each scene awaits its worker")]
fn spawn(serving: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(serving)
}

fn statuses(master: &FakeMaster, job: i64) -> Vec<JobStatus> {
    let of_job = |update: &JobUpdate| update.id == JobId(job);
    master.updates().into_iter().filter(of_job).map(|update| update.status).collect()
}

#[tokio::test(start_paused = true)]
async fn a_job_is_run_and_reported_with_its_log() {
    let scene = Scene::new(1, &[]);
    scene.offer(1, "say hello; last; say world");
    let end = scene.finished(1).await;
    let (master, _) = scene.end().await;
    assert_eq!(statuses(&master, 1), [JobStatus::Running, JobStatus::Completed]);
    let ran = master.updates()[0].ran.clone().expect("the start says what it was made of");
    assert_eq!((ran.image.as_str(), end.ran.is_none()), ("scripted", true));
    assert!(end.usage.is_some_and(|usage| usage.drain_ms.is_some()), "{end:?}");
    assert_eq!(end.outcome, Some(Outcome::Exited { code: 0 }));
    assert_eq!(end.log.unwrap().offset, master.log().len() as u64);
    assert_eq!(end.log.unwrap().crc32, crc32fast::hash(b"hello\nworld\n"));
}

/// Its start is in the same report.
#[tokio::test(start_paused = true)]
async fn a_job_that_is_over_at_once_is_reported_once() {
    let scene = Scene::new(1, &[]);
    scene.offer(1, "say hello");
    let end = scene.finished(1).await;
    let (master, _) = scene.end().await;
    assert_eq!(statuses(&master, 1), [JobStatus::Completed]);
    assert_eq!(end.ran.expect("the end says what it was made of").image, "scripted");
    assert_eq!(end.log.unwrap().offset, master.log().len() as u64);
}

#[rstest]
#[case("exit 3", Outcome::Exited { code: 3 })]
#[case("panic", Outcome::CouldNotStart { reason: "a defect of the worker: as the script says".into() })]
#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_as_what_it_is(#[case] script: &str, #[case] outcome: Outcome) {
    let scene = Scene::new(1, &[]);
    scene.offer(1, script);
    let end = scene.master.updated(1, JobStatus::Failed).await;
    assert_eq!(end.outcome, Some(outcome));
    scene.offer(2, "exit 0");
    scene.finished(2).await;
    scene.end().await;
}

/// The next process of this worker finds it, should this one die before that.
#[tokio::test(start_paused = true)]
async fn an_end_is_kept_until_the_master_has_heard_of_it() {
    let scene = Scene::new(1, &[]);
    scene.master.be_deaf_to(Some(JobStatus::Completed));
    scene.offer(1, "say hi");
    sleep(Duration::from_secs(20)).await;
    assert_eq!((scene.executor.running(), scene.executor.kept()), (0, 1));
    scene.master.be_deaf_to(None);
    scene.finished(1).await;
    let (_, executor) = scene.end().await;
    assert_eq!(executor.kept(), 0);
}

#[tokio::test(start_paused = true)]
async fn slots_are_filled_and_never_overfilled() {
    let scene = Scene::new(3, &[]);
    for job in 1..=8 {
        scene.offer(job, if job <= 3 { "hang" } else { "say hi" });
    }
    for job in 1..=3 {
        scene.master.updated(job, JobStatus::Running).await;
    }
    assert_eq!(scene.executor.running(), 3);
    scene.master.answer_heartbeats(|reply| reply.cancel = vec![JobId(1), JobId(2), JobId(3)]);
    for job in 4..=8 {
        scene.finished(job).await;
    }
    let (master, executor) = scene.end().await;
    assert_eq!(executor.most_at_once(), 3);
    assert!(master.claims().iter().all(|(_, slots)| (1..=3).contains(slots)));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_with_the_same_id() {
    let scene = Scene::new(1, &[]);
    scene.master.lose_claims(2);
    scene.offer(1, "say hi");
    scene.finished(1).await;
    let (master, _) = scene.end().await;
    let claims = master.claims();
    assert!(claims.len() >= 3);
    assert!(claims[..3].iter().all(|claim| *claim == claims[0]), "{claims:?}");
    assert_ne!(claims[0].0, claims.last().unwrap().0, "an answered id is not used again");
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_arrives_at_once() {
    let scene = Scene::new(1, &[]);
    scene.offer(1, "say hi; hang");
    scene.master.updated(1, JobStatus::Running).await;
    let asked = Instant::now();
    scene.master.answer_heartbeats(|reply| reply.cancel = vec![JobId(1)]);
    let end = scene.master.updated(1, JobStatus::Failed).await;
    assert_eq!(end.outcome, Some(Outcome::Cancelled));
    assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
    scene.end().await;
}

/// Whatever runs: what there is to be told does not wait for them.
#[tokio::test(start_paused = true)]
async fn heartbeats_go_at_every_quarter_of_a_lease() {
    let scene = Scene::new(1, &[]);
    scene.offer(1, "hang");
    scene.master.updated(1, JobStatus::Running).await;
    let before = scene.master.beats().len();
    sleep(Duration::from_mins(10)).await;
    let beats = scene.master.beats().len() - before;
    assert!((39..=41).contains(&beats), "{beats}");
    scene.master.answer_heartbeats(|reply| reply.cancel = vec![JobId(1)]);
    scene.master.updated(1, JobStatus::Failed).await;
    scene.end().await;
}

/// A master that was started again may have been given another lease.
#[tokio::test(start_paused = true)]
async fn a_lease_that_has_become_shorter_is_renewed_more_often() {
    let scene = Scene::new(2, &[]);
    scene.offer(1, "hang");
    scene.master.updated(1, JobStatus::Running).await;
    scene.master.answer_heartbeats(|reply| reply.lease = Span::from_secs(8));
    sleep(Duration::from_mins(1)).await;
    let count = || (scene.master.beats().len(), scene.master.claims().len());
    let (beats, claims) = count();
    sleep(Duration::from_mins(1)).await;
    let (beats, claims) = (count().0 - beats, count().1 - claims);
    // No claim waits for longer, or what it brings could be over already.
    assert!((29..=31).contains(&beats) && (29..=31).contains(&claims), "{beats}, {claims}");
    assert_eq!(scene.executor.running(), 1);
    scene.hard.cancel();
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_ends_the_job_without_a_word() {
    let scene = Scene::new(1, &[]);
    scene.offer(1, "hang");
    scene.master.updated(1, JobStatus::Running).await;
    scene.master.answer_heartbeats(|reply| reply.lost = vec![JobId(1)]);
    scene.offer(2, "say hi");
    scene.finished(2).await;
    let (master, _) = scene.end().await;
    assert_eq!(statuses(&master, 1), [JobStatus::Running]);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_comes_after_the_loss_is_not_told() {
    let scene = Scene::new(1, &[]);
    scene.offer(1, "late");
    scene.master.updated(1, JobStatus::Running).await;
    scene.master.answer_heartbeats(|reply| reply.lost = vec![JobId(1)]);
    scene.offer(2, "say hi");
    scene.finished(2).await;
    let (master, _) = scene.end().await;
    assert_eq!(statuses(&master, 1), [JobStatus::Running]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_log_ends_the_job_like_a_lost_lease() {
    let scene = Scene::new(1, &[Append::LeaseLost]);
    scene.offer(1, "last; say hi; hang");
    scene.master.updated(1, JobStatus::Running).await;
    scene.offer(2, "exit 0");
    scene.finished(2).await;
    let (master, _) = scene.end().await;
    assert_eq!(statuses(&master, 1), [JobStatus::Running]);
}

#[tokio::test(start_paused = true)]
async fn without_heartbeats_the_job_is_ended_before_its_lease_is() {
    let scene = Scene::new(1, &[]);
    scene.offer(1, "hang");
    scene.master.updated(1, JobStatus::Running).await;
    scene.master.fall_silent();
    let silent = Instant::now();
    while scene.executor.running() > 0 {
        sleep(Duration::from_millis(100)).await;
    }
    let (least, most) = (Duration::from_secs(50), Duration::from_mins(1));
    assert!((least..most).contains(&silent.elapsed()), "{:?}", silent.elapsed());
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_longer_lease_lasts_longer() {
    let scene = Scene::new(2, &[]);
    for job in [1, 2] {
        scene.offer(job, "hang");
        scene.master.updated(job, JobStatus::Running).await;
    }
    let longer = [(JobId(2), Span::from_secs(600))];
    scene.master.answer_heartbeats(|reply| reply.longer = longer.into());
    sleep(Duration::from_secs(16)).await;
    scene.master.fall_silent();
    sleep(Duration::from_secs(100)).await;
    assert_eq!(scene.executor.running(), 1, "the usual lease is over");
    sleep(Duration::from_secs(400)).await;
    assert_eq!(scene.executor.running(), 1);
    sleep(Duration::from_secs(80)).await;
    assert_eq!(scene.executor.running(), 0);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_a_long_job_alive() {
    let scene = Scene::new(1, &[]);
    scene.offer(1, "hang");
    scene.master.updated(1, JobStatus::Running).await;
    sleep(Duration::from_hours(2)).await;
    assert_eq!(scene.executor.running(), 1);
    scene.master.answer_heartbeats(|reply| reply.cancel = vec![JobId(1)]);
    scene.master.updated(1, JobStatus::Failed).await;
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn at_shutdown_a_job_may_end_within_the_grace_time() {
    let scene = Scene::new(1, &[]);
    scene.offer(1, "say hi; hang");
    scene.master.updated(1, JobStatus::Running).await;
    scene.soft.cancel();
    scene.master.answer_heartbeats(|reply| reply.cancel = vec![JobId(1)]);
    let (master, _) = scene.end().await;
    assert_eq!(statuses(&master, 1), [JobStatus::Running, JobStatus::Failed]);
}

#[rstest]
#[case::when_the_grace_time_is_over(false, GRACE)]
#[case::at_once_when_in_a_hurry(true, Duration::ZERO)]
#[tokio::test(start_paused = true)]
async fn at_shutdown_what_is_left_is_handed_back(#[case] hurry: bool, #[case] after: Duration) {
    let scene = Scene::new(2, &[]);
    scene.offer(1, "say hi; hang");
    scene.offer(2, "hang");
    scene.master.updated(1, JobStatus::Running).await;
    scene.master.updated(2, JobStatus::Running).await;
    let stopped = Instant::now();
    if hurry {
        scene.hard.cancel();
    }
    let (master, executor) = scene.end().await;
    let took = stopped.elapsed();
    assert!(took >= after && took < after + Duration::from_secs(1), "{took:?}");
    assert_eq!(executor.running(), 0);
    for job in [1, 2] {
        assert_eq!(statuses(&master, job), [JobStatus::Running, JobStatus::Pending]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_claimed_while_stopping_is_not_left_behind() {
    let scene = Scene::new(1, &[]);
    // The worker is in its long poll.
    while scene.master.claims().is_empty() {
        tokio::task::yield_now().await;
    }
    scene.master.lose_claims(1);
    scene.offer(1, "last");
    tokio::task::yield_now().await;
    let (master, _) = scene.end().await;
    assert_eq!(statuses(&master, 1), [JobStatus::Running, JobStatus::Completed]);
}

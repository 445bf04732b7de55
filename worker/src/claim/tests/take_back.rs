//! A worker that was started again, and what it makes of what it held.

use orchestra_contracts::frame::{Body, Frame, Stream};

use super::*;

/// A restarted worker whose master believes that it holds these jobs. Of those
/// with `Some` something is left, and it says whether that is ours.
fn restarted(
    slots: u32,
    held: &[(Claimed, Option<bool>)],
    reply: fn(&mut HeartbeatReply),
) -> Scene {
    let (master, executor) = (FakeMaster::scripted(&[]), Arc::<ScriptedExecutor>::default());
    master.answer_heartbeats(reply);
    for (claimed, left) in held {
        master.hold(claimed.clone(), &[]);
        if let Some(ours) = *left {
            executor.leave(claimed.job.id.0, ours);
        }
    }
    Scene::between(slots, master, executor)
}

fn running(id: i64, script: &str) -> Claimed {
    let mut claimed = claimed(id, script);
    claimed.job.status = JobStatus::Running;
    claimed
}

#[tokio::test(start_paused = true)]
async fn a_running_job_goes_on_where_its_log_ends() {
    let (master, executor) = (FakeMaster::scripted(&[]), Arc::<ScriptedExecutor>::default());
    let stored =
        Frame { time: 1, body: Body::Bytes(Stream::Stdout, b"hello\nwo".as_slice().into()) };
    master.hold(running(1, "say hello; say world; exit 3"), &[stored]);
    executor.leave(1, true);
    let scene = Scene::between(1, master, executor);
    let end = scene.master.updated(1, JobStatus::Failed).await;
    let (master, executor) = scene.end().await;
    assert_eq!(end.outcome, Some(Outcome::Exited { code: 3 }));
    assert_eq!(end.log.unwrap().offset, master.log().len() as u64);
    assert_eq!(end.log.unwrap().crc32, crc32fast::hash(b"hello\nworld\n"));
    assert_eq!(statuses(&master, 1), [JobStatus::Failed], "that it runs is known");
    assert_eq!(executor.calls(), ["left of 1/1", "tidy"], "tidied only after it was found");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_nobody_heard_of_is_announced() {
    let scene = restarted(1, &[(claimed(1, "last"), Some(true))], |_| ());
    scene.finished(1).await;
    let (master, _) = scene.end().await;
    assert_eq!(statuses(&master, 1), [JobStatus::Running, JobStatus::Completed]);
}

#[rstest]
#[case::another_process_has_it(Some(false))]
#[case::nothing_is_left(None)]
#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_left_to_its_lease(#[case] left: Option<bool>) {
    let scene = restarted(1, &[(running(1, "say hi"), left)], |_| ());
    scene.offer(2, "say hi");
    scene.finished(2).await;
    sleep(Duration::from_mins(2)).await;
    let (master, executor) = scene.end().await;
    assert_eq!(statuses(&master, 1), []);
    assert!(master.beats().concat().iter().all(|lease| lease.job != JobId(1)), "renewed");
    assert_eq!(executor.calls(), ["left of 1/1", "tidy"]);
}

#[tokio::test(start_paused = true)]
async fn all_are_taken_back_and_count_as_running() {
    let held = [(running(1, "hang"), Some(true)), (running(2, "hang"), Some(true))];
    let scene = restarted(1, &held, |_| ());
    scene.offer(3, "say hi");
    sleep(Duration::from_mins(10)).await;
    assert_eq!(scene.executor.running(), 2, "also those that there is no slot for");
    assert!(scene.master.claims().is_empty(), "and then nothing is claimed");
    scene.master.answer_heartbeats(|reply| reply.cancel = vec![JobId(1), JobId(2)]);
    scene.finished(3).await;
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_cancelled_meanwhile_is_ended() {
    let held = [(running(1, "hang"), Some(true))];
    let scene = restarted(1, &held, |reply| reply.cancel = vec![JobId(1)]);
    let end = scene.master.updated(1, JobStatus::Failed).await;
    assert_eq!(end.outcome, Some(Outcome::Cancelled));
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_meanwhile_is_ended_without_a_word() {
    let held = [(running(1, "hang"), Some(true))];
    let scene = restarted(1, &held, |reply| reply.lost = vec![JobId(1)]);
    scene.offer(2, "say hi");
    scene.finished(2).await;
    let (master, executor) = scene.end().await;
    assert_eq!((statuses(&master, 1), executor.running()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_back_is_handed_back_at_shutdown() {
    let scene = restarted(1, &[(running(1, "hang"), Some(true))], |_| ());
    while scene.executor.running() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    let (master, _) = scene.end().await;
    assert_eq!(statuses(&master, 1), [JobStatus::Pending]);
}

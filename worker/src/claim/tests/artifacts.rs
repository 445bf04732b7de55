//! What a job leaves, on its way to the master, before the end is told.

use orchestra_contracts::files::Artifact;

use super::*;

fn paths(update: &JobUpdate) -> Vec<&str> {
    update.artifacts.iter().map(|Artifact { path, .. }| path.as_str()).collect()
}

#[rstest]
#[case::it_succeeds("", JobStatus::Completed)]
#[case::it_fails("; exit 3", JobStatus::Failed)]
#[tokio::test(start_paused = true)]
async fn what_a_job_leaves_is_stored_before_its_end_is_told(
    #[case] end: &str,
    #[case] status: JobStatus,
) {
    let scene = Scene::new(1, &[]);
    scene.master.script_pieces(&[Append::LoseAnswer, Append::Unwell, Append::Store]);
    scene.offer(1, &format!("say hi; leave out/a; leave b{end}"));
    let end = scene.master.updated(1, status).await;
    assert_eq!(paths(&end), ["out/a", "b"]);
    assert_eq!(end.changes.as_ref().unwrap().created, ["out/a", "b"]);
    let (master, _) = scene.end().await;
    assert_eq!(master.file("out/a").as_deref(), Some(&b"out/a"[..]));
    assert_eq!(master.updates()[0].artifacts, [], "the start tells of none");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_out_is_said_in_the_log_before_it_is_closed() {
    let scene = Scene::new(1, &[]);
    scene.master.script_pieces(&[Append::TooLarge]);
    scene.offer(1, "say hi; leave a; leave b");
    let end = scene.finished(1).await;
    let (master, _) = scene.end().await;
    assert_eq!(paths(&end), ["b"]);
    let log = master.log();
    let note = b"left out of the artifacts: a: TooLarge\n";
    assert!(log.windows(note.len()).any(|bytes| bytes == note), "{log:?}");
    assert_eq!(end.log.unwrap().offset, log.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_lease_is_lost_on_the_way_tells_of_nothing_more() {
    let scene = Scene::new(1, &[]);
    scene.master.script_pieces(&[Append::Store, Append::LeaseLost]);
    scene.offer(1, "last; leave a; leave b; leave c");
    scene.master.updated(1, JobStatus::Running).await;
    let (master, _) = scene.end().await;
    assert_eq!((statuses(&master, 1), master.pieces().len()), (vec![JobStatus::Running], 2));
}

/// As the log: it is for the lease to decide.
#[tokio::test(start_paused = true)]
async fn a_master_that_does_not_answer_is_waited_for() {
    let scene = Scene::new(1, &[]);
    scene.master.script_pieces(&[Append::LoseRequest; 40]);
    scene.offer(1, "leave a");
    assert_eq!(paths(&scene.finished(1).await), ["a"]);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_taken_back_has_what_it_left() {
    let (master, executor) = (FakeMaster::scripted(&[]), Arc::<ScriptedExecutor>::default());
    master.hold(claimed(1, "say hi; leave out/a"), &[]);
    executor.leave(1, true);
    let scene = Scene::between(1, master, executor);
    assert_eq!(paths(&scene.finished(1).await), ["out/a"]);
    scene.end().await;
}

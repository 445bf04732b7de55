//! What comes along with the report of an end: the last of the log, and a claim for the next job.

use super::*;

/// The request id of the claim in each report of a job's end.
fn claims_of(master: &FakeMaster, job: i64) -> Vec<Option<String>> {
    let ends = master
        .updates()
        .into_iter()
        .filter(|update| update.id == JobId(job) && !matches!(update.status, JobStatus::Running));
    ends.map(|update| update.claim.map(|claim| claim.request_id.unwrap())).collect()
}

/// A worker of one slot whose first job ends in a second.
async fn busy() -> Scene {
    let scene = Scene::new(1, &[]);
    scene.offer(1, "last");
    scene.master.updated(1, JobStatus::Running).await;
    scene
}

#[tokio::test(start_paused = true)]
async fn the_last_of_a_log_is_in_the_report() {
    let scene = Scene::new(1, &[]);
    scene.offer(1, "say hello");
    let end = scene.finished(1).await;
    let (master, _) = scene.end().await;
    assert_eq!(master.requests(), [0; 0], "nothing was sent by itself");
    assert_eq!(end.rest.unwrap().0, master.log());
    assert_eq!(end.log.unwrap().offset, master.log().len() as u64);
}

#[tokio::test(start_paused = true)]
async fn what_a_job_says_while_it_runs_is_sent_at_once() {
    let scene = Scene::new(1, &[]);
    scene.offer(1, "say hello; last; say bye");
    scene.master.updated(1, JobStatus::Running).await;
    let before = scene.master.log();
    assert!(!before.is_empty());
    let end = scene.finished(1).await;
    let (master, _) = scene.end().await;
    assert_eq!(end.rest.unwrap().0, master.log().slice(before.len()..));
}

/// It takes no notice of what it does not know, and says that the log is not complete.
#[tokio::test(start_paused = true)]
async fn an_older_master_gets_the_log_by_itself() {
    let scene = Scene::new(1, &[]);
    scene.master.grow_old();
    scene.offer(1, "say hello");
    while scene.master.updates().len() < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    scene.offer(2, "say hello");
    scene.finished(2).await;
    let (master, _) = scene.end().await;
    let told = |update: &JobUpdate| (update.id.0, update.status, update.rest.is_some());
    let told: Vec<_> = master.updates().iter().map(told).collect();
    let done = JobStatus::Completed;
    assert_eq!(told, [(1, done, true), (1, done, false), (2, done, false)]);
    assert_eq!(master.requests(), [master.log().len(); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_filled_by_the_end_of_its_job() {
    let scene = busy().await;
    for job in 2..=4 {
        scene.offer(job, "exit 0");
    }
    scene.finished(4).await;
    let (master, executor) = scene.end().await;
    assert_eq!(executor.most_at_once(), 1);
    let ids: Vec<_> = (1..=4).flat_map(|job| claims_of(&master, job)).map(Option::unwrap).collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (4, 4), "each has an id of its own");
    // The first one, and the one that waits at the end.
    let claims: std::collections::BTreeSet<_> = master.claims().into_iter().collect();
    assert_eq!(claims.len(), 2, "{claims:?}");
}

/// What there is comes by that one.
#[tokio::test(start_paused = true)]
async fn where_a_claim_waits_no_end_claims() {
    let scene = Scene::new(2, &[]);
    scene.offer(1, "last");
    scene.finished(1).await;
    let (master, _) = scene.end().await;
    assert_eq!(claims_of(&master, 1), [None]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_report_loses_no_job() {
    let scene = busy().await;
    scene.master.lose_reports(2);
    scene.offer(2, "exit 0");
    scene.finished(2).await;
    let (master, _) = scene.end().await;
    let asked = claims_of(&master, 1);
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|id| id.is_some() && *id == asked[0]), "{asked:?}");
    assert_eq!(statuses(&master, 2), [JobStatus::Completed]);
}

/// Nobody asks with that report again, so a claim of its id does.
#[tokio::test(start_paused = true)]
async fn nor_does_one_whose_lease_is_lost_before_there_is_an_answer() {
    let scene = busy().await;
    scene.master.lose_reports(u32::MAX);
    scene.offer(2, "exit 0");
    while claims_of(&scene.master, 1).len() < 3 {
        sleep(Duration::from_millis(10)).await;
    }
    scene.master.answer_heartbeats(|reply| reply.lost = vec![JobId(1)]);
    while statuses(&scene.master, 2).is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    scene.master.lose_reports(0);
    let (master, _) = scene.end().await;
    let id = claims_of(&master, 1)[0].clone().unwrap();
    assert!(master.claims().contains(&(id, 1)), "{:?}", master.claims());
}

#[tokio::test(start_paused = true)]
async fn an_older_master_is_asked_by_a_claim() {
    let scene = busy().await;
    scene.master.grow_old();
    scene.offer(2, "exit 0");
    scene.finished(2).await;
    let (master, _) = scene.end().await;
    assert!(claims_of(&master, 1)[0].is_some());
    assert!(master.claims().len() >= 2, "{:?}", master.claims());
}

#[tokio::test(start_paused = true)]
async fn who_could_not_start_a_job_claims_none() {
    let scene = busy().await;
    scene.executor.ail(Some("the engine does not answer"));
    scene.finished(1).await;
    let (master, _) = scene.end().await;
    assert_eq!(claims_of(&master, 1), [None]);
}

#[tokio::test(start_paused = true)]
async fn who_is_to_stop_claims_none() {
    let scene = busy().await;
    scene.offer(2, "exit 0");
    let (master, _) = scene.end().await;
    assert_eq!(claims_of(&master, 1), [None]);
    assert_eq!(statuses(&master, 2), []);
}

//! A worker whose engine does not answer.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_unwell_says_so_and_claims_nothing_until_it_is_well() {
    let scene = Scene::new(2, &[]);
    scene.offer(1, "hang");
    scene.master.updated(1, JobStatus::Running).await;
    scene.executor.ail(Some("the engine does not answer"));
    // It may ask once more, for what an answer that it did not read may have held.
    sleep(Duration::from_secs(2)).await;
    let (claims, beats) = (scene.master.claims().len(), scene.master.beats().len());
    assert_eq!(scene.master.unwell().as_deref(), Some("the engine does not answer"));
    scene.offer(2, "say hi");
    sleep(Duration::from_mins(5)).await;
    assert_eq!(scene.master.claims().len(), claims, "it claims nothing");
    let renewed = &scene.master.beats()[beats..];
    assert!(renewed.len() >= 15, "it renews what may still run: {}", renewed.len());
    assert!(renewed.iter().all(|leases| leases.iter().any(|lease| lease.job == JobId(1))));

    scene.executor.ail(None);
    scene.finished(2).await;
    assert_eq!(scene.master.unwell(), None);
    scene.master.answer_heartbeats(|reply| reply.cancel = vec![JobId(1)]);
    scene.master.updated(1, JobStatus::Failed).await;
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_claimed_as_the_engine_went_away_is_not_left_behind() {
    let scene = Scene::new(1, &[]);
    while scene.master.claims().is_empty() {
        tokio::task::yield_now().await;
    }
    // The answer that it is about to get is lost, and it does not wait for another.
    scene.master.lose_claims(1);
    scene.offer(1, "say hi");
    tokio::task::yield_now().await;
    scene.executor.ail(Some("the engine does not answer"));
    scene.finished(1).await;
    scene.end().await;
}

//! Rows that cannot be read, and those who come after them.

use orchestra_contracts::{JobId, JobSpec, JobStatus, Outcome, Resources, Size, every_end};

use super::{Place, at, claim, specs};
use crate::{
    domain::{EndFilter, JobEvent},
    store::{JobFilter, Store as _, WebhookGrant},
};

#[tokio::test]
async fn a_damaged_row_stops_nobody_elses_claim() {
    let place = Place::new();
    let store = place.open().await;
    store.insert(specs(4), at(0).now).await.unwrap();
    for damage in [
        "UPDATE job SET spec = '{\"command\": ' WHERE id = 1",
        "UPDATE job SET not_before = -9223372036854775807 WHERE id = 2",
    ] {
        sqlx::query(damage).execute(&mut place.outsider().await).await.unwrap();
    }
    let jobs = store.claim(vec![claim("a")], at(1)).await.unwrap().remove(0);
    assert_eq!(jobs[0].id, JobId(3));
    for id in [1, 2] {
        let job = store.job(JobId(id)).await.unwrap().unwrap();
        let Some(Outcome::Refused { reason }) = job.finish().map(|finish| &finish.outcome) else {
            panic!("{job:?}");
        };
        assert!(reason.contains("is damaged") && reason.contains("submit it again"), "{reason}");
        assert_eq!(job.status(), JobStatus::Failed);
        assert!(job.spec.command.starts_with("exit 1 #"), "a retry does no harm: {job:?}");
    }
    let all = JobFilter { limit: 9, ..JobFilter::default() };
    assert_eq!(store.jobs(&all).await.unwrap().len(), 4, "lists show them");
}

/// What it asked for is gone with the rest of it.
#[tokio::test]
async fn a_damaged_row_of_a_job_that_asks_for_much_is_set_aside_too() {
    let place = Place::new();
    let store = place.open().await;
    let resources = Resources { memory: Some(Size::mib(8192)), ..Resources::default() };
    let specs = vec![JobSpec { resources, ..JobSpec::new("true") }; 2];
    store.insert(specs, at(0).now).await.unwrap();
    let mut outsider = place.outsider().await;
    let damage = "UPDATE job SET spec = 'nonsense' WHERE id = 1";
    sqlx::query(damage).execute(&mut outsider).await.unwrap();
    let jobs = store.claim(vec![claim("a")], at(1)).await.unwrap().remove(0);
    assert_eq!(jobs[0].id, JobId(2));
    let demands: Vec<String> = sqlx::query_scalar("SELECT demand FROM job ORDER BY id")
        .fetch_all(&mut outsider)
        .await
        .unwrap();
    assert_eq!(demands, ["", "memory=8g"]);
}

#[tokio::test]
async fn a_damaged_row_keeps_no_other_lease_alive() {
    let place = Place::new();
    let store = place.open().await;
    store.insert(specs(2), at(0).now).await.unwrap();
    for request in ["a", "b"] {
        store.claim(vec![claim(request)], at(1)).await.unwrap();
    }
    sqlx::query("UPDATE job SET spec = 'nonsense' WHERE id = 1")
        .execute(&mut place.outsider().await)
        .await
        .unwrap();
    let expired = store.expire(at(100), 10).await.unwrap();
    assert_eq!(expired.iter().map(|one| one.job.id).collect::<Vec<_>>(), [JobId(2)]);
    let job = store.job(JobId(1)).await.unwrap().unwrap();
    assert_eq!(job.status(), JobStatus::Failed);
    assert!(store.attempts(JobId(1)).await.unwrap()[0].finished_at.is_some());
    assert!(store.expire(at(200), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_end_of_a_damaged_row_is_told_and_a_damaged_webhook_keeps_no_job_from_ending() {
    let place = Place::new();
    let store = place.open().await;
    for url in ["https://a.example", "https://b.example"] {
        let filter = EndFilter { on: every_end(), queue: None, labels: [].into() };
        let grant = WebhookGrant { url: url.to_owned(), filter, secret: String::new() };
        store.add_webhook(grant, at(0).now).await.unwrap();
    }
    store.insert(specs(3), at(0).now).await.unwrap();
    for damage in [
        "UPDATE job SET spec = 'nonsense' WHERE id = 1",
        "UPDATE webhook SET labels = 'nonsense' WHERE id = 1",
    ] {
        sqlx::query(damage).execute(&mut place.outsider().await).await.unwrap();
    }
    store.claim(vec![claim("a")], at(1)).await.unwrap();
    store.apply(JobId(3), JobEvent::CancelRequested, at(2)).await.unwrap();
    let told = store.due_deliveries(at(2).now, 9).await.unwrap();
    let told: Vec<_> = told.iter().map(|due| (due.url.as_str(), due.record.job.0)).collect();
    assert_eq!(told, [("https://b.example", 1), ("https://b.example", 3)]);
}

//! Ends of jobs become deliveries in the commit in which they happen; those are tried, noted,
//! and kept for a while.

use orchestra_contracts::{
    DeliveryId, DeliveryState, JobId, JobSpec, JobStatus, Outcome, Secret, WebhookId, every_end,
};

use super::{Held, TestStore, at, claim, every_adapter, spec};
use crate::{
    domain::{EndFilter, JobEvent},
    store::{DELIVERIES_KEPT, DueDelivery, Tried, WebhookGrant},
};

every_adapter!(
    webhooks_are_listed_as_they_were_added_and_outlive_a_restart,
    every_way_to_end_is_told_once,
    an_end_is_told_to_those_who_want_it,
    what_is_told_is_the_job_at_its_end_without_what_is_secret,
    a_try_is_noted_and_the_next_one_waits,
    what_has_ended_is_tried_again_when_somebody_asks,
    a_webhook_that_is_removed_takes_its_deliveries_along,
    one_webhook_is_not_behind_another,
    the_log_keeps_the_newest,
);

fn grant(url: &str) -> WebhookGrant {
    let filter = EndFilter { on: every_end(), queue: None, labels: [].into() };
    WebhookGrant { url: url.to_owned(), filter, secret: "sealed".to_owned() }
}

async fn add(store: &TestStore, grant: WebhookGrant) -> WebhookId {
    store.add_webhook(grant, at(1).now).await.unwrap().id
}

/// A job that waits is cancelled at once.
async fn cancelled(store: &TestStore, spec: JobSpec, second: i64) -> JobId {
    let id = store.insert(vec![spec], at(second).now).await.unwrap()[0].id;
    store.apply(id, JobEvent::CancelRequested, at(second)).await.unwrap().unwrap();
    id
}

async fn due(store: &TestStore, second: i64) -> Vec<DueDelivery> {
    store.due_deliveries(at(second).now, 1000).await.unwrap()
}

fn delivered(id: DeliveryId, second: i64) -> Tried {
    Tried {
        delivery: id,
        at: at(second).now,
        answer: Some(204),
        error: None,
        state: DeliveryState::Delivered,
        due_at: None,
    }
}

async fn webhooks_are_listed_as_they_were_added_and_outlive_a_restart(mut store: TestStore) {
    assert!(store.webhooks().await.unwrap().is_empty());
    let mut narrow = grant("https://a.example");
    narrow.filter = EndFilter {
        on: vec![JobStatus::Failed],
        queue: Some("build".parse().unwrap()),
        labels: [("team".to_owned(), "core".to_owned())].into(),
    };
    let first = store.add_webhook(narrow.clone(), at(1).now).await.unwrap();
    let second = store.add_webhook(grant("https://b.example"), at(2).now).await.unwrap();
    assert_eq!((first.id, &first.grant, first.created_at), (WebhookId(1), &narrow, at(1).now));
    store.reopen().await;
    assert_eq!(store.webhooks().await.unwrap(), [first.clone(), second.clone()]);
    assert!(store.remove_webhook(second.id).await.unwrap());
    assert!(!store.remove_webhook(second.id).await.unwrap());
    assert_eq!(add(&store, grant("https://c.example")).await, WebhookId(3), "never given twice");
}

async fn every_way_to_end_is_told_once(store: TestStore) {
    cancelled(&store, spec("before"), 1).await;
    add(&store, grant("https://a.example")).await;
    let specs = ["done", "failed", "lost", "stopped"].map(spec).to_vec();
    store.insert(specs, at(2).now).await.unwrap();
    let jobs = store.claim(vec![claim("w", 4)], at(2)).await.unwrap().remove(0);
    let held: Vec<Held> = jobs.into_iter().map(|job| Held { job }).collect();
    assert!(due(&store, 99).await.is_empty(), "nothing has ended");
    let ended = |held: &Held, outcome| (held.job.id, held.ended(outcome));
    for (id, event) in [
        ended(&held[0], Outcome::Exited { code: 0 }),
        ended(&held[1], Outcome::Exited { code: 1 }),
        (held[3].job.id, JobEvent::CancelRequested),
        ended(&held[3], Outcome::Cancelled),
        // What is said again is told once.
        ended(&held[0], Outcome::Exited { code: 0 }),
    ] {
        store.apply(id, event, at(5)).await.unwrap().unwrap();
    }
    let mut rules = at(1000);
    rules.retry.poison_after = 1;
    assert_eq!(store.expire(rules, 10).await.unwrap().len(), 1);
    let told = due(&store, 1000).await;
    let told: Vec<_> = told.iter().map(|due| (due.record.job.0, due.record.status)).collect();
    let mut sorted = told.clone();
    sorted.sort_by_key(|(job, _)| *job);
    let expected = [
        (2, JobStatus::Completed),
        (3, JobStatus::Failed),
        (4, JobStatus::Failed),
        (5, JobStatus::Cancelled),
    ];
    assert_eq!(sorted, expected);
    assert_eq!(told[3].0, 4, "in the order in which they ended");
    // A second end is another one.
    store.apply(JobId(2), JobEvent::RetryRequested, at(1001)).await.unwrap().unwrap();
    store.apply(JobId(2), JobEvent::CancelRequested, at(1002)).await.unwrap().unwrap();
    assert_eq!(due(&store, 1002).await.len(), 5);
}

async fn an_end_is_told_to_those_who_want_it(store: TestStore) {
    let with = |change: &dyn Fn(&mut EndFilter)| {
        let mut wanted = grant("https://a.example");
        change(&mut wanted.filter);
        wanted
    };
    let label = |value: &str| [("a.b/c".to_owned(), value.to_owned())].into();
    add(&store, with(&|_| {})).await;
    add(&store, with(&|filter| filter.on = vec![JobStatus::Completed])).await;
    add(&store, with(&|filter| filter.queue = Some("build".parse().unwrap()))).await;
    add(&store, with(&|filter| filter.labels = label("1"))).await;
    add(&store, with(&|filter| filter.labels = label("2"))).await;
    let mut job = spec("true");
    (job.queue, job.labels) = ("build".to_owned(), label("1"));
    cancelled(&store, job, 2).await;
    cancelled(&store, spec("true"), 3).await;
    let told = due(&store, 3).await;
    let told: Vec<_> = told.iter().map(|due| (due.record.webhook.0, due.record.job.0)).collect();
    assert_eq!(told, [(1, 1), (1, 2), (3, 1), (4, 1)]);
}

async fn what_is_told_is_the_job_at_its_end_without_what_is_secret(mut store: TestStore) {
    add(&store, grant("https://a.example")).await;
    let mut job = spec("deploy");
    job.stdin = Some("input".to_owned());
    job.secrets = [("KEY".to_owned(), Secret::new("sealed:1:AAAA"))].into();
    let id = cancelled(&store, job.clone(), 2).await;
    // What becomes of the job later does not matter.
    store.apply(id, JobEvent::RetryRequested, at(3)).await.unwrap().unwrap();
    store.apply(id, JobEvent::DeleteRequested, at(3)).await.unwrap().unwrap();
    assert!(store.job(id).await.unwrap().is_none());
    store.reopen().await;
    let due = due(&store, 3).await.remove(0);
    assert_eq!((due.url.as_str(), due.secret.as_str()), ("https://a.example", "sealed"));
    let (record, told) = (due.record, due.job.unwrap());
    assert_eq!((record.job, record.created_at, record.attempts), (id, at(2).now, 0));
    assert_eq!((told.id, told.status(), told.created_at), (id, JobStatus::Cancelled, at(2).now));
    assert_eq!((told.spec.command.as_str(), &told.spec.stdin), ("deploy", &None));
    assert_eq!(told.spec.secrets["KEY"], Secret::hidden());
}

async fn a_try_is_noted_and_the_next_one_waits(mut store: TestStore) {
    let webhook = add(&store, grant("https://a.example")).await;
    cancelled(&store, spec("true"), 2).await;
    let id = due(&store, 2).await[0].record.id;
    let failed = Tried {
        answer: Some(500),
        error: Some("it answered with 500".to_owned()),
        state: DeliveryState::Pending,
        due_at: Some(at(9).now),
        ..delivered(id, 3)
    };
    store.note_try(failed).await.unwrap();
    store.reopen().await;
    assert!(due(&store, 8).await.is_empty());
    let waiting = async |most| store.waiting_deliveries(most).await.unwrap();
    assert_eq!((waiting(10).await, waiting(0).await), (1, 0));
    let again = due(&store, 9).await.remove(0).record;
    assert_eq!((again.attempts, again.answer, again.tried_at), (1, Some(500), Some(at(3).now)));
    assert_eq!(again.error.as_deref(), Some("it answered with 500"));
    store.note_try(delivered(id, 10)).await.unwrap();
    // A word that comes later changes nothing.
    store.note_try(Tried { answer: Some(500), ..delivered(id, 11) }).await.unwrap();
    assert!(due(&store, 99).await.is_empty());
    assert_eq!(waiting(10).await, 0);
    let log = store.deliveries(webhook, 10).await.unwrap();
    let [last] = &log[..] else { panic!("{log:?}") };
    assert_eq!((last.state, last.attempts, last.answer), (DeliveryState::Delivered, 2, Some(204)));
    assert_eq!((last.tried_at, last.due_at, &last.error), (Some(at(10).now), None, &None));
}

async fn what_has_ended_is_tried_again_when_somebody_asks(store: TestStore) {
    let webhook = add(&store, grant("https://a.example")).await;
    cancelled(&store, spec("true"), 2).await;
    let id = due(&store, 2).await[0].record.id;
    store.note_try(Tried { state: DeliveryState::GivenUp, ..delivered(id, 3) }).await.unwrap();
    for (webhook, id) in [(WebhookId(9), id), (webhook, DeliveryId(9))] {
        assert!(store.redeliver(webhook, id, at(4).now).await.unwrap().is_none());
    }
    let again = store.redeliver(webhook, id, at(5).now).await.unwrap().unwrap();
    assert_eq!((again.state, again.attempts), (DeliveryState::Pending, 0));
    assert_eq!(again.due_at, Some(at(5).now));
    assert_eq!(due(&store, 5).await[0].record, again);
}

async fn a_webhook_that_is_removed_takes_its_deliveries_along(store: TestStore) {
    let [gone, stays] = [
        add(&store, grant("https://a.example")).await,
        add(&store, grant("https://b.example")).await,
    ];
    cancelled(&store, spec("true"), 2).await;
    let under_way = due(&store, 2).await[0].record.id;
    assert!(store.remove_webhook(gone).await.unwrap());
    store.note_try(delivered(under_way, 3)).await.unwrap();
    assert!(store.deliveries(gone, 10).await.unwrap().is_empty());
    let due = due(&store, 3).await;
    assert_eq!(due.iter().map(|due| due.record.webhook).collect::<Vec<_>>(), [stays]);
    cancelled(&store, spec("true"), 4).await;
    assert!(store.deliveries(gone, 10).await.unwrap().is_empty());
    assert_eq!(store.deliveries(stays, 10).await.unwrap().len(), 2);
}

async fn one_webhook_is_not_behind_another(store: TestStore) {
    for url in ["https://a.example", "https://b.example"] {
        add(&store, grant(url)).await;
    }
    for second in 2..8 {
        cancelled(&store, spec("true"), second).await;
    }
    let first = store.due_deliveries(at(9).now, 2).await.unwrap();
    let first: Vec<_> = first.iter().map(|due| (due.record.webhook.0, due.record.job.0)).collect();
    assert_eq!(first, [(1, 1), (1, 2), (2, 1), (2, 2)]);
}

async fn the_log_keeps_the_newest(store: TestStore) {
    let webhook = add(&store, grant("https://a.example")).await;
    let jobs = vec![spec("true"); DELIVERIES_KEPT + 2];
    let jobs = store.insert(jobs, at(2).now).await.unwrap();
    let events = jobs.iter().map(|job| store.apply(job.id, JobEvent::CancelRequested, at(2)));
    futures::future::try_join_all(events).await.unwrap();
    let all = store.due_deliveries(at(2).now, 9999).await.unwrap();
    // All but the first one, which waits for its next try.
    let tries = all[1..].iter().map(|due| store.note_try(delivered(due.record.id, 3)));
    futures::future::try_join_all(tries).await.unwrap();
    let log = store.deliveries(webhook, 9999).await.unwrap();
    assert_eq!(log.len(), DELIVERIES_KEPT + 1);
    let ids: Vec<_> = log.iter().map(|record| record.id.0).collect();
    assert!(ids.is_sorted_by(|newer, older| newer > older));
    assert_eq!(ids[ids.len() - 2..], [3, 1], "what is pending is never dropped");
    assert_eq!(store.deliveries(webhook, 2).await.unwrap(), log[..2]);
}

//! Leases are renewed, lost, and run out.

use orchestra_contracts::{
    AttemptNo, JobId, JobSpec, JobStatus, LeaseToken, Outcome, Span,
    worker::{LeaseRef, Registration},
};
use tokio::task::JoinSet;

use super::{TTL, TestStore, at, claim, every_adapter, ids, spec, worker};
use crate::{domain::JobEvent, store::Renewal};

every_adapter!(
    a_renewed_lease_does_not_expire,
    leases_that_ran_out_are_taken_back,
    a_limit_bounds_what_expires_at_once,
    jobs_that_expire_together_do_not_come_back_together,
    a_heartbeat_tells_what_is_lost,
    a_heartbeat_brings_the_wish_to_stop,
    a_renewal_never_shortens_a_lease,
    a_job_may_have_a_longer_lease,
    a_stale_heartbeat_changes_no_row,
    losses_are_counted_and_end_as_poison,
    heartbeats_of_many_workers_do_not_mix,
);

async fn a_renewed_lease_does_not_expire(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    store.renew(&worker("worker"), vec![held.lease()], TTL, at(50).now).await.unwrap();
    assert!(store.expire(at(109), 10).await.unwrap().is_empty());
    assert_eq!(store.read(held.job.id).await.lease().unwrap().expires_at, at(110).now);
    let expired = store.expire(at(110), 10).await.unwrap();
    assert_eq!(expired[0].job.id, held.job.id);
}

async fn leases_that_ran_out_are_taken_back(store: TestStore) {
    let lost = store.submit_and_claim(spec("true")).await;
    let stopping = store.submit_and_claim(spec("true")).await;
    store.event(stopping.job.id, JobEvent::CancelRequested, at(2)).await;
    let deleting = store.submit_and_claim(spec("true")).await;
    store.event(deleting.job.id, JobEvent::DeleteRequested, at(2)).await;
    store.submit(spec("true")).await;
    let expired = store.expire(at(61), 10).await.unwrap();
    assert_eq!(expired.len(), 3);
    let job = store.read(lost.job.id).await;
    assert_eq!((job.status(), job.infra_retries), (JobStatus::Pending, 1));
    assert_eq!(job.finish().unwrap().outcome, Outcome::Lost);
    assert_eq!(store.read(stopping.job.id).await.status(), JobStatus::Cancelled);
    let attempts = store.attempts(stopping.job.id).await.unwrap();
    assert_eq!(attempts[0].outcome, Some(Outcome::Lost));
    assert_eq!(store.job(deleting.job.id).await.unwrap(), None);
    assert!(store.expire(at(61), 10).await.unwrap().is_empty(), "once");
    let late = store.event(lost.job.id, lost.ended(Outcome::Exited { code: 0 }), at(62)).await;
    assert_eq!(late.result, Err(crate::domain::Refusal::LeaseLost));
}

async fn a_limit_bounds_what_expires_at_once(store: TestStore) {
    store.insert(vec![spec("true"); 5], at(0).now).await.unwrap();
    store.claim(vec![claim("a", 5)], at(1)).await.unwrap();
    let expired =
        [store.expire(at(100), 3).await.unwrap(), store.expire(at(100), 3).await.unwrap()];
    assert_eq!(expired.map(|jobs| jobs.len()), [3, 2]);
}

async fn jobs_that_expire_together_do_not_come_back_together(store: TestStore) {
    store.insert(vec![spec("true"); 8], at(0).now).await.unwrap();
    store.claim(vec![claim("a", 8)], at(1)).await.unwrap();
    store.expire(at(100), 8).await.unwrap();
    let mut times: Vec<_> = Vec::new();
    for tenths in 0..=10 {
        let mut rules = at(100);
        rules.now += jiff::SignedDuration::from_millis(tenths * 100);
        times.push(store.claim(vec![claim("b", 8)], rules).await.unwrap()[0].len());
    }
    assert_eq!(times.iter().sum::<usize>(), 8);
    assert!(times.iter().all(|&jobs| jobs <= 2), "{times:?}");
}

async fn a_heartbeat_tells_what_is_lost(store: TestStore) {
    store.register(&worker("worker"), Registration::default(), at(0).now).await.unwrap();
    let held = store.submit_and_claim(spec("true")).await;
    let over = store.submit_and_claim(spec("true")).await;
    store.event(over.job.id, over.ended(Outcome::Exited { code: 0 }), at(2)).await;
    let right = held.lease();
    let leases = vec![
        right.clone(),
        LeaseRef { token: LeaseToken::new("other"), ..right.clone() },
        LeaseRef { attempt: AttemptNo(2), ..right.clone() },
        over.lease(),
        LeaseRef { job: JobId(99), ..right.clone() },
    ];
    let renewal = store.renew(&worker("worker"), leases, TTL, at(9).now).await.unwrap();
    let lost = vec![held.job.id, held.job.id, over.job.id, JobId(99)];
    assert_eq!(renewal, Renewal { lost, stop: vec![], longer: vec![], unknown: false });
    let stranger = store.renew(&worker("other"), vec![right], TTL, at(30).now).await.unwrap();
    assert_eq!(
        stranger,
        Renewal { lost: vec![held.job.id], stop: vec![], longer: vec![], unknown: true }
    );
    assert_eq!(store.read(held.job.id).await.lease().unwrap().expires_at, at(69).now);
}

async fn a_heartbeat_brings_the_wish_to_stop(store: TestStore) {
    let keep = store.submit_and_claim(spec("true")).await;
    let cancel = store.submit_and_claim(spec("true")).await;
    let delete = store.submit_and_claim(spec("true")).await;
    store.event(cancel.job.id, JobEvent::CancelRequested, at(2)).await;
    store.event(delete.job.id, JobEvent::DeleteRequested, at(2)).await;
    let leases = vec![keep.lease(), cancel.lease(), delete.lease()];
    let renewal = store.renew(&worker("worker"), leases, TTL, at(9).now).await.unwrap();
    assert_eq!(renewal.stop, [cancel.job.id, delete.job.id]);
    assert_eq!(renewal.lost, []);
    assert!(store.expire(at(68), 9).await.unwrap().is_empty(), "they are renewed all the same");
}

async fn a_renewal_never_shortens_a_lease(store: TestStore) {
    let held = store.submit_and_claim(JobSpec { max_retries: 1, ..spec("true") }).await;
    store.renew(&worker("worker"), vec![held.lease()], TTL, at(0).now).await.unwrap();
    assert_eq!(store.read(held.job.id).await, held.job);
}

async fn a_job_may_have_a_longer_lease(mut store: TestStore) {
    let asking = |seconds| JobSpec { lease: Some(Span::from_secs(seconds)), ..spec("true") };
    let long = store.submit_and_claim(asking(90)).await;
    let longest = store.submit_and_claim(asking(9000)).await;
    let usual = store.submit_and_claim(asking(5)).await;
    let ends = async |store: &TestStore, held: &super::Held| {
        store.read(held.job.id).await.lease().unwrap().expires_at.as_second()
    };
    assert_eq!(ends(&store, &long).await, 1 + 90);
    assert_eq!(ends(&store, &longest).await, 1 + 600, "the operator's longest");
    assert_eq!(ends(&store, &usual).await, 1 + 60, "the operator's least");

    store.reopen().await;
    let leases = vec![long.lease(), longest.lease(), usual.lease()];
    let renewal = store.renew(&worker("worker"), leases, TTL, at(50).now).await.unwrap();
    let longer = [(long.job.id, Span::from_secs(90)), (longest.job.id, TTL.max)];
    assert_eq!(renewal.longer, longer);
    assert_eq!(ends(&store, &long).await, 50 + 90);
    assert_eq!(ends(&store, &longest).await, 50 + 600);
    assert_eq!(ends(&store, &usual).await, 50 + 60);
    let expired = store.expire(at(110), 9).await.unwrap();
    assert_eq!(expired.iter().map(|one| one.job.id).collect::<Vec<_>>(), [usual.job.id]);
}

async fn a_stale_heartbeat_changes_no_row(store: TestStore) {
    let first = store.submit_and_claim(spec("true")).await;
    store.expire(at(61), 9).await.unwrap();
    let second = store.claim_one("other", at(200)).await;
    assert_eq!(second.job.id, first.job.id);
    let before = store.read(first.job.id).await;
    let stale = LeaseRef { attempt: AttemptNo(2), ..first.lease() };
    // The last one has nothing wrong but its token: one worker got the job twice.
    for (name, lease) in [("worker", first.lease()), ("worker", stale.clone()), ("other", stale)] {
        let renewal = store.renew(&worker(name), vec![lease], TTL, at(230).now).await.unwrap();
        assert_eq!((renewal.lost, renewal.longer), (vec![first.job.id], vec![]));
    }
    assert_eq!(store.read(first.job.id).await, before);
}

async fn losses_are_counted_and_end_as_poison(mut store: TestStore) {
    let id = store.submit(spec("true")).await.id;
    for (attempt, begins) in [(1, 1000), (2, 2000), (3, 3000)] {
        store.claim_one("worker", at(begins)).await;
        store.expire(at(begins + 60), 9).await.unwrap();
        store.reopen().await;
        assert_eq!(store.read(id).await.lost, attempt);
    }
    let job = store.read(id).await;
    assert_eq!(job.finish().unwrap().outcome, Outcome::Poison { lost: 3 });
    let attempts = store.attempts(id).await.unwrap();
    assert!(attempts.iter().all(|attempt| attempt.outcome == Some(Outcome::Lost)));
    assert_eq!(attempts.len(), 3);
}

async fn heartbeats_of_many_workers_do_not_mix(store: TestStore) {
    store.insert(vec![spec("true"); 60], at(0).now).await.unwrap();
    let claims = (0..20).map(|number| claim(&format!("worker-{number}"), 3)).collect();
    let answers = store.claim(claims, at(1)).await.unwrap();
    let mut heartbeats = JoinSet::new();
    for (number, jobs) in answers.into_iter().enumerate() {
        let store = store.share();
        heartbeats.spawn(async move {
            let name = worker(&format!("worker-{number}"));
            let known = number % 2 == 0;
            if known {
                store.register(&name, Registration::default(), at(1).now).await.unwrap();
            }
            let mut held: Vec<_> =
                jobs.into_iter().map(|job| super::Held { job }.lease()).collect();
            held[1].token = LeaseToken::new("stale");
            let stale = held[1].job;
            let renewal = store.renew(&name, held, TTL, at(2).now).await.unwrap();
            assert_eq!(
                renewal,
                Renewal { lost: vec![stale], stop: vec![], longer: vec![], unknown: !known }
            );
        });
    }
    heartbeats.join_all().await;
    let expired = store.expire(at(61), 100).await.unwrap();
    let jobs: Vec<_> = expired.into_iter().map(|applied| applied.job).collect();
    assert_eq!(ids(&jobs).len(), 20, "the stale ones and no other");
}

//! Who gets which job: order, queues, repeated claims, and the race of many claimers.

use std::collections::HashSet;

use orchestra_contracts::{JobSpec, Outcome, Span};
use tokio::task::JoinSet;

use super::{TTL, TestStore, at, claim, claim_spec, every_adapter, ids, spec};
use crate::{
    domain::JobState,
    store::{Claim, ClaimSpec, LeaseTerms},
};

every_adapter!(
    ids_follow_the_order_of_the_specs,
    the_oldest_goes_first,
    priority_goes_before_age,
    priority_counts_across_queues,
    a_claim_takes_from_its_queues_only,
    claims_are_served_in_turn,
    a_retry_is_not_claimed_before_its_time,
    a_job_put_off_is_claimed_from_its_time_on,
    what_is_put_off_keeps_its_place,
    a_retry_keeps_its_place,
    a_repeated_claim_gets_the_same_jobs,
    a_repeated_claim_gets_new_jobs_when_the_old_are_over,
    a_claim_repeated_at_the_same_time_gets_the_same_jobs,
    a_claim_that_was_answered_gets_nothing_new_even_without_looking_back,
    a_lease_lasts_as_its_terms_say,
    sixteen_claimers_share_five_hundred_jobs,
);

async fn ids_follow_the_order_of_the_specs(store: TestStore) {
    let specs: Vec<JobSpec> = (0..100).map(|number| spec(&format!("echo {number}"))).collect();
    let jobs = store.insert(specs.clone(), at(5).now).await.unwrap();
    assert_eq!(ids(&jobs), (1..=100).collect::<Vec<_>>());
    assert!(jobs.iter().map(|job| &job.spec).eq(&specs));
    assert!(jobs.iter().all(|job| job.created_at == at(5).now));
    assert_eq!(store.read(jobs[41].id).await, jobs[41]);
    assert_eq!(store.insert(vec![], at(5).now).await.unwrap(), []);
}

async fn the_oldest_goes_first(store: TestStore) {
    store.insert(vec![spec("true"); 5], at(0).now).await.unwrap();
    let first = store.claim(vec![claim("a", 2)], at(1)).await.unwrap();
    let rest = store.claim(vec![claim("b", 9)], at(1)).await.unwrap();
    let none = store.claim(vec![claim("c", 9)], at(1)).await.unwrap();
    assert_eq!((ids(&first[0]), ids(&rest[0])), (vec![1, 2], vec![3, 4, 5]));
    assert_eq!(none, [vec![]]);
    for job in first.iter().chain(&rest).flatten() {
        assert_eq!(store.read(job.id).await, *job);
    }
}

async fn priority_goes_before_age(store: TestStore) {
    let job = |priority| JobSpec { priority, ..spec("true") };
    store.insert([0, -1, 5, 0, 5].map(job).into(), at(0).now).await.unwrap();
    let first = store.claim(vec![claim("a", 2)], at(1)).await.unwrap().remove(0);
    let rest = store.claim(vec![claim("a", 9)], at(1)).await.unwrap().remove(0);
    assert_eq!((ids(&first), ids(&rest)), (vec![3, 5], vec![1, 4, 2]));
}

async fn priority_counts_across_queues(store: TestStore) {
    let job =
        |(queue, priority): (&str, i32)| JobSpec { queue: queue.into(), priority, ..spec("true") };
    store
        .insert([("x", 0), ("y", 1), ("x", 2), ("y", 0)].map(job).into(), at(0).now)
        .await
        .unwrap();
    let from_both =
        Claim::from(ClaimSpec { queues: vec!["x".into(), "y".into()], ..claim_spec("a", 9) });
    let jobs = store.claim(vec![from_both], at(1)).await.unwrap().remove(0);
    assert_eq!(ids(&jobs), [3, 2, 1, 4]);
}

async fn a_claim_takes_from_its_queues_only(store: TestStore) {
    let job = |queue: &str| JobSpec { queue: queue.into(), ..spec("true") };
    store.insert(["x", "y", "x", "z", "y"].map(job).into(), at(0).now).await.unwrap();
    let from = |queues: &[&str], slots| {
        let queues = queues.iter().map(|&queue| queue.to_owned()).collect();
        Claim::from(ClaimSpec { queues, ..claim_spec("a", slots) })
    };
    let claims =
        vec![from(&["y"], 1), from(&["nothing"], 1), from(&[], 1), from(&["z", "y", "x"], 3)];
    let answers = store.claim(claims, at(1)).await.unwrap();
    let answers: Vec<_> = answers.iter().map(|jobs| ids(jobs)).collect();
    assert_eq!(answers, [vec![2], vec![], vec![], vec![1, 3, 4]]);
}

async fn claims_are_served_in_turn(store: TestStore) {
    store.insert(vec![spec("true"); 4], at(0).now).await.unwrap();
    let claims = vec![claim("a", 1), claim("b", 2), claim("c", 2)];
    let answers = store.claim(claims.clone(), at(1)).await.unwrap();
    let answered: Vec<_> = answers.iter().map(|jobs| ids(jobs)).collect();
    assert_eq!(answered, [vec![1], vec![2, 3], vec![4]]);
    for (claim, jobs) in claims.iter().zip(&answers) {
        for (token, job) in claim.tokens.iter().zip(jobs) {
            let lease = job.lease().unwrap();
            assert_eq!((&lease.worker, &lease.token), (&claim.worker, token));
        }
    }
}

async fn a_retry_is_not_claimed_before_its_time(store: TestStore) {
    let held = store.submit_and_claim(JobSpec { max_retries: 1, ..spec("false") }).await;
    store.event(held.job.id, held.ended(Outcome::Exited { code: 1 }), at(10)).await;
    let claims = || vec![claim("b", 1)];
    assert_eq!(store.claim(claims(), at(10)).await.unwrap(), [vec![]]);
    let jobs = store.claim(claims(), at(11)).await.unwrap().remove(0);
    assert_eq!((jobs[0].id, jobs[0].attempts), (held.job.id, 2));
}

fn put_off(seconds: i64, priority: i32) -> JobSpec {
    JobSpec { not_before: Some(at(seconds).now), priority, ..spec("true") }
}

async fn a_job_put_off_is_claimed_from_its_time_on(mut store: TestStore) {
    let job = store.submit(put_off(10, 0)).await;
    assert_eq!(
        job.state,
        JobState::Pending { not_before: Some(at(10).now), hold: None, after: None }
    );
    assert_eq!(store.read(job.id).await, job);
    let claims = || vec![claim("a", 1)];
    assert_eq!(store.claim(claims(), at(9)).await.unwrap(), [vec![]]);
    store.reopen().await;
    assert_eq!(store.claim(claims(), at(9)).await.unwrap(), [vec![]]);
    assert_eq!(ids(&store.claim(claims(), at(10)).await.unwrap()[0]), [1]);
}

async fn what_is_put_off_keeps_its_place(store: TestStore) {
    let jobs = vec![put_off(30, 0), put_off(20, 0), spec("true"), put_off(20, 5), spec("true")];
    store.insert(jobs, at(0).now).await.unwrap();
    let early = store.claim(vec![claim("a", 1)], at(19)).await.unwrap().remove(0);
    let later = store.claim(vec![claim("a", 2)], at(20)).await.unwrap().remove(0);
    let late = store.claim(vec![claim("a", 9)], at(30)).await.unwrap().remove(0);
    assert_eq!((ids(&early), ids(&later), ids(&late)), (vec![3], vec![4, 2], vec![1, 5]));
}

async fn a_retry_keeps_its_place(store: TestStore) {
    store.insert(vec![spec("true"); 3], at(0).now).await.unwrap();
    let held = store.claim_one("a", at(1)).await;
    store.event(held.job.id, held.ended(Outcome::HandedBack), at(2)).await;
    let jobs = store.claim(vec![claim("b", 3)], at(2)).await.unwrap().remove(0);
    assert_eq!(ids(&jobs), [1, 2, 3]);
}

fn named(request: &str, slots: usize) -> Claim {
    ClaimSpec { request_id: Some(request.to_owned()), ..claim_spec("a", slots) }.into()
}

async fn a_repeated_claim_gets_the_same_jobs(store: TestStore) {
    store.insert(vec![spec("true"); 5], at(0).now).await.unwrap();
    let first = store.claim(vec![named("one", 2)], at(1)).await.unwrap();
    assert_eq!(store.claim(vec![named("one", 2)], at(2)).await.unwrap(), first);
    let other_worker = ClaimSpec { request_id: Some("one".into()), ..claim_spec("b", 1) }.into();
    let next = store.claim(vec![named("two", 1), other_worker], at(2)).await.unwrap();
    assert_eq!((ids(&next[0]), ids(&next[1])), (vec![3], vec![4]));
}

async fn a_repeated_claim_gets_new_jobs_when_the_old_are_over(store: TestStore) {
    store.insert(vec![spec("true"); 3], at(0).now).await.unwrap();
    let first = store.claim(vec![named("one", 2)], at(1)).await.unwrap().remove(0);
    let [ended, lives] = <[_; 2]>::try_from(first).unwrap();
    let held = super::Held { job: ended };
    store.event(held.job.id, held.ended(Outcome::Exited { code: 0 }), at(2)).await;
    assert_eq!(store.claim(vec![named("one", 2)], at(3)).await.unwrap(), [vec![lives]]);
    let late = store.claim(vec![named("one", 2)], at(61)).await.unwrap();
    assert_eq!(ids(&late[0]), [3], "the lease of job 2 has run out");
}

async fn a_claim_repeated_at_the_same_time_gets_the_same_jobs(store: TestStore) {
    store.insert(vec![spec("true"); 4], at(0).now).await.unwrap();
    let answers = store.claim(vec![named("one", 2), named("one", 2)], at(1)).await.unwrap();
    assert_eq!((ids(&answers[0]), &answers[1]), (vec![1, 2], &answers[0]));
}

async fn a_claim_that_was_answered_gets_nothing_new_even_without_looking_back(store: TestStore) {
    store.insert(vec![spec("true"); 4], at(0).now).await.unwrap();
    let first = store.claim(vec![named("one", 1)], at(1)).await.unwrap().remove(0);
    let waits = |request: &str| Claim { looks_back: false, ..named(request, 1) };
    let answers = store.claim(vec![waits("one"), waits("two")], at(2)).await.unwrap();
    assert_eq!((&answers[0], ids(&answers[1])), (&first, vec![2]));
    let twice = store.claim(vec![waits("three"), waits("three")], at(2)).await.unwrap();
    assert_eq!((ids(&twice[0]), &twice[1]), (vec![3], &twice[0]));
}

async fn a_lease_lasts_as_its_terms_say(store: TestStore) {
    let timeout = Some(Span::from_secs(600));
    store.insert(vec![JobSpec { timeout, ..spec("true") }; 2], at(0).now).await.unwrap();
    let extra = Span::from_secs(30);
    let curl = ClaimSpec { terms: LeaseTerms::JobTimeout { extra }, ..claim_spec("b", 1) }.into();
    let answers = store.claim(vec![claim("a", 1), curl], at(1)).await.unwrap();
    let expiries = answers.iter().map(|jobs| jobs[0].lease().unwrap().expires_at);
    let seconds: Vec<i64> = expiries.map(jiff::Timestamp::as_second).collect();
    assert_eq!(seconds, [1 + TTL.base.as_millis() / 1000, 1 + 600 + 30]);
}

async fn sixteen_claimers_share_five_hundred_jobs(store: TestStore) {
    store.insert(vec![spec("true"); 500], at(0).now).await.unwrap();
    let mut claimers = JoinSet::new();
    for number in 0..16_usize {
        let store = store.share();
        claimers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let wanted = claim(&format!("worker-{number}"), 1 + number % 3);
                let jobs = store.claim(vec![wanted], at(1)).await.unwrap().remove(0);
                if jobs.is_empty() {
                    return mine;
                }
                mine.extend(ids(&jobs));
            }
        });
    }
    let claimed: Vec<i64> = claimers.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 500, "none twice");
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), (1..=500).collect(), "none lost");
}

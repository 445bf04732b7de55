//! Jobs that begin after others, and arrays whose jobs take turns.

use std::collections::BTreeSet;

use orchestra_contracts::{Condition, JobId, JobRef, JobSpec, JobStatus, Outcome};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::{Held, TestStore, at, claim, every_adapter, ids, spec};
use crate::{
    domain::{JobEvent, NewJob, plan},
    store::{JobFilter, Submitted},
};

every_adapter!(
    a_job_begins_when_all_others_have_completed,
    each_condition_lets_begin_or_ends_for_good,
    what_never_can_begin_takes_others_along,
    what_has_ended_before_counts,
    who_is_deleted_counts_as_cancelled,
    one_that_waits_can_be_cancelled_and_run_without_waiting,
    jobs_that_are_not_there_are_not_waited_for,
    an_array_takes_turns,
    turns_come_after_the_jobs_that_are_waited_for,
    what_moved_along_is_told,
    waiting_outlives_a_restart,
    ids_are_never_given_twice,
);

const OK: Outcome = Outcome::Exited { code: 0 };
const BAD: Outcome = Outcome::Exited { code: 1 };

fn after(condition: Condition, jobs: &[i64]) -> JobSpec {
    let mut spec = spec("true");
    *spec.after_with_mut(condition) = jobs.iter().map(|id| JobRef::Id(JobId(*id))).collect();
    spec
}

pub(super) fn after_ok(jobs: &[i64]) -> JobSpec {
    after(Condition::AfterOk, jobs)
}

/// As a call submits them, arrays as their jobs.
pub(super) async fn submit(store: &TestStore, specs: &[JobSpec]) -> Vec<i64> {
    match store.share().submit(plan(specs).unwrap(), None, at(0).now).await.unwrap() {
        Submitted::New(jobs) => ids(&jobs),
        other => panic!("{other:?}"),
    }
}

/// Claims all that can be claimed.
async fn claimed(store: &TestStore) -> Vec<i64> {
    ids(&store.claim(vec![claim("w", 99)], at(1)).await.unwrap().remove(0))
}

async fn end(store: &TestStore, id: i64, outcome: Outcome) -> Vec<i64> {
    let held = Held { job: store.read(JobId(id)).await };
    let applied = store.event(held.job.id, held.ended(outcome), at(2)).await;
    applied.along.iter().map(|id| id.0).collect()
}

async fn status(store: &TestStore, id: i64) -> JobStatus {
    store.read(JobId(id)).await.status()
}

async fn reason(store: &TestStore, id: i64) -> String {
    store.read(JobId(id)).await.finish().unwrap().outcome.to_string()
}

async fn a_job_begins_when_all_others_have_completed(store: TestStore) {
    submit(&store, &[spec("a"), spec("b")]).await;
    submit(&store, &[after_ok(&[1, 2])]).await;
    assert_eq!(claimed(&store).await, [1, 2]);
    end(&store, 1, OK).await;
    assert_eq!(claimed(&store).await, [0; 0]);
    end(&store, 2, OK).await;
    assert_eq!(claimed(&store).await, [3]);
}

async fn each_condition_lets_begin_or_ends_for_good(store: TestStore) {
    use JobStatus::{Cancelled as No, Pending as Yes};
    submit(&store, &[spec("a"), spec("b"), spec("c")]).await;
    for condition in Condition::ALL {
        let its = [1, 2, 3].map(|upstream| after(condition, &[upstream]));
        submit(&store, &its).await;
    }
    assert_eq!(claimed(&store).await, [1, 2, 3]);
    end(&store, 1, OK).await;
    end(&store, 2, BAD).await;
    end(&store, 3, Outcome::Cancelled).await;
    let mut statuses = Vec::new();
    for id in 4..=12 {
        statuses.push(status(&store, id).await);
    }
    assert_eq!(statuses, [Yes, No, No, Yes, Yes, Yes, No, Yes, No]);
    assert_eq!(claimed(&store).await, [4, 7, 8, 9, 11]);
    assert_eq!(
        reason(&store, 5).await,
        "skipped: job 2 failed, and this one begins only after it has completed"
    );
    assert_eq!(
        reason(&store, 12).await,
        "skipped: job 3 was cancelled, and this one begins only after it has failed"
    );
}

async fn what_never_can_begin_takes_others_along(store: TestStore) {
    let chain = [spec("a"), after_ok(&[1]), after_ok(&[2]), after(Condition::AfterAny, &[3])];
    submit(&store, &chain[..1]).await;
    for next in &chain[1..] {
        submit(&store, std::slice::from_ref(next)).await;
    }
    claimed(&store).await;
    assert_eq!(end(&store, 1, BAD).await, [2, 3, 4]);
    assert_eq!(status(&store, 3).await, JobStatus::Cancelled);
    assert_eq!(
        reason(&store, 3).await,
        "skipped: job 2 was cancelled, and this one begins only after it has completed"
    );
    assert_eq!(claimed(&store).await, [4], "it waited for the end alone");
}

async fn what_has_ended_before_counts(store: TestStore) {
    submit(&store, &[spec("a"), spec("b")]).await;
    claimed(&store).await;
    end(&store, 1, OK).await;
    end(&store, 2, BAD).await;
    let fellow = JobSpec { name: Some("x".into()), ..after_ok(&[1, 2]) };
    let last = JobSpec { after: vec![JobRef::Name("x".into())], ..spec("c") };
    submit(&store, &[after_ok(&[1]), last, fellow]).await;
    assert_eq!(claimed(&store).await, [3]);
    assert_eq!(status(&store, 4).await, JobStatus::Cancelled, "by the one that follows it");
    assert_eq!(status(&store, 5).await, JobStatus::Cancelled);
}

async fn who_is_deleted_counts_as_cancelled(store: TestStore) {
    submit(&store, &[spec("a"), spec("b")]).await;
    submit(&store, &[after_ok(&[1]), after(Condition::AfterAny, &[1]), after_ok(&[2])]).await;
    store.event(JobId(1), JobEvent::DeleteRequested, at(1)).await;
    assert_eq!(status(&store, 3).await, JobStatus::Cancelled);
    assert_eq!(claimed(&store).await, [2, 4]);
    end(&store, 2, OK).await;
    store.event(JobId(2), JobEvent::DeleteRequested, at(3)).await;
    assert_eq!(claimed(&store).await, [5], "it had completed before");
}

async fn one_that_waits_can_be_cancelled_and_run_without_waiting(store: TestStore) {
    submit(&store, &[spec("a")]).await;
    submit(&store, &[after_ok(&[1])]).await;
    store.event(JobId(2), JobEvent::CancelRequested, at(1)).await;
    assert_eq!(claimed(&store).await, [1]);
    store.event(JobId(2), JobEvent::RetryRequested, at(2)).await;
    assert_eq!(claimed(&store).await, [2]);
    assert_eq!(end(&store, 1, BAD).await, [0; 0]);
    assert_eq!(status(&store, 2).await, JobStatus::Assigned, "it is past waiting");
}

async fn jobs_that_are_not_there_are_not_waited_for(store: TestStore) {
    submit(&store, &[spec("a")]).await;
    let jobs = plan(&[spec("b"), after_ok(&[1, 7]), after_ok(&[9, 7])]).unwrap();
    let answer = store.share().submit(jobs, None, at(0).now).await.unwrap();
    assert_eq!(answer, Submitted::NoSuchJobs(vec![JobId(7), JobId(9)]));
    let all = store.jobs(&JobFilter { limit: 9, ..JobFilter::default() }).await.unwrap();
    assert_eq!(ids(&all), [1], "all or nothing");
}

async fn an_array_takes_turns(store: TestStore) {
    let array = JobSpec { array: "10-50:10%2".parse().ok(), ..spec("true") };
    assert_eq!(submit(&store, &[spec("a"), array, spec("b")]).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(claimed(&store).await, [1, 2, 3, 7]);
    let element = store.read(JobId(4)).await.element.unwrap();
    assert_eq!((element.array, element.index), (JobId(2), 30));
    assert_eq!(end(&store, 1, OK).await, [0; 0], "it is not of the array");
    assert_eq!(end(&store, 3, BAD).await, [4]);
    assert_eq!(claimed(&store).await, [4]);
    // One that waits takes no turn with it when it goes; one that was under way gives its own.
    store.event(JobId(5), JobEvent::CancelRequested, at(3)).await;
    assert_eq!(claimed(&store).await, [0; 0]);
    assert_eq!(end(&store, 2, OK).await, [6]);
    assert_eq!(claimed(&store).await, [6]);
}

async fn turns_come_after_the_jobs_that_are_waited_for(store: TestStore) {
    let array = |after| JobSpec { array: "1-3%1".parse().ok(), after, ..spec("true") };
    let name = |name: &str| JobRef::Name(name.to_owned());
    let first = JobSpec { name: Some("first".into()), ..spec("a") };
    let many = JobSpec { name: Some("many".into()), ..array(vec![name("first")]) };
    let last = JobSpec { after: vec![name("many")], ..spec("z") };
    assert_eq!(submit(&store, &[last, first, many]).await, [1, 2, 3, 4, 5]);
    assert_eq!(claimed(&store).await, [2]);
    assert_eq!(end(&store, 2, OK).await, [3, 4, 5]);
    for element in [3, 4, 5] {
        assert_eq!(claimed(&store).await, [element]);
        end(&store, element, OK).await;
    }
    assert_eq!(claimed(&store).await, [1]);
    assert_eq!(store.read(JobId(1)).await.spec.after, [3, 4, 5].map(|id| JobRef::Id(JobId(id))));
}

/// Whoever waits for one of them has to be woken.
async fn what_moved_along_is_told(store: TestStore) {
    submit(&store, &[spec("a")]).await;
    submit(&store, &[after_ok(&[1]), after(Condition::AfterFailed, &[1])]).await;
    claimed(&store).await;
    assert_eq!(end(&store, 1, OK).await, [2, 3]);
}

async fn waiting_outlives_a_restart(mut store: TestStore) {
    submit(&store, &[spec("a")]).await;
    let array = JobSpec { array: "1-2%1".parse().ok(), ..spec("true") };
    submit(&store, &[after_ok(&[1]), array]).await;
    store.reopen().await;
    assert_eq!(claimed(&store).await, [1, 3]);
    store.reopen().await;
    assert_eq!(end(&store, 1, OK).await, [2]);
    assert_eq!(end(&store, 3, OK).await, [4]);
    assert_eq!(claimed(&store).await, [2, 4]);
}

async fn ids_are_never_given_twice(mut store: TestStore) {
    assert_eq!(submit(&store, &[spec("a"), spec("b")]).await, [1, 2]);
    for id in [1, 2] {
        store.event(JobId(id), JobEvent::DeleteRequested, at(1)).await;
    }
    store.reopen().await;
    assert_eq!(submit(&store, &[spec("c")]).await, [3]);
}

/// What every job shows, in one line each.
async fn picture(store: &TestStore) -> Vec<String> {
    let filter = JobFilter { limit: 1000, ..JobFilter::default() };
    let jobs = store.jobs(&filter).await.unwrap();
    let line = |job: &crate::domain::Job| {
        let outcome = job.finish().map(|finish| finish.outcome.to_string());
        format!("{} {} {:?} {outcome:?}", job.id, job.status(), hold(job))
    };
    jobs.iter().map(line).collect()
}

/// How many of the lines say so.
async fn count(store: &TestStore, what: &str) -> usize {
    picture(store).await.iter().filter(|line| line.contains(what)).count()
}

fn hold(job: &crate::domain::Job) -> Option<crate::domain::Hold> {
    match job.state {
        crate::domain::JobState::Pending { hold, .. } => hold,
        _ => None,
    }
}

fn random_call(random: &mut StdRng, known: i64) -> Vec<NewJob> {
    let mut specs = Vec::new();
    for place in 0..random.random_range(1..4) {
        let mut spec = JobSpec { name: Some(format!("n{place}")), ..spec("true") };
        let mut upstreams = BTreeSet::new();
        for condition in Condition::ALL {
            let upstream = JobId(random.random_range(1..=known.max(1)));
            if known > 0 && random.random_bool(0.3) && upstreams.insert(upstream) {
                spec.after_with_mut(condition).push(JobRef::Id(upstream));
            }
        }
        if place > 0 && random.random_bool(0.3) {
            spec.after.push(JobRef::Name(format!("n{}", random.random_range(0..place))));
        }
        if random.random_bool(0.3) {
            spec.array = ["1-3", "1-5%2", "4-9:2%1"].choose(random).unwrap().parse().ok();
        }
        specs.push(spec);
    }
    plan(&specs).unwrap()
}

/// Random submissions, ends, cancellations, deletions and retries come to the same in both.
#[tokio::test]
async fn the_adapters_agree() {
    let (mut jobs, mut skipped, mut freed) = (0, 0, 0);
    for seed in 0..20 {
        let (one, other) = (TestStore::sqlite().await, TestStore::memory().await);
        let (one, other) = one.zip(other).unwrap();
        let mut random = StdRng::seed_from_u64(seed);
        let mut known = 0;
        for step in 0..60 {
            let id = JobId(random.random_range(1..=known.max(1)));
            let event = match random.random_range(0..6) {
                0 => {
                    let call = random_call(&mut random, known);
                    let ours = one.share().submit(call.clone(), None, at(step).now).await.unwrap();
                    let theirs = other.share().submit(call, None, at(step).now).await.unwrap();
                    assert_eq!(ours, theirs, "seed {seed}, step {step}");
                    if let Submitted::New(jobs) = ours {
                        known += jobs.len() as i64;
                    }
                    None
                }
                1 => Some(JobEvent::CancelRequested),
                2 if random.random_bool(0.3) => Some(JobEvent::DeleteRequested),
                2 => Some(JobEvent::RetryRequested),
                _ => {
                    let claim = claim("w", 2);
                    for store in [&one, &other] {
                        let jobs = store.claim(vec![claim.clone()], at(step)).await.unwrap();
                        let outcome = if step % 3 == 0 { BAD } else { OK };
                        for job in jobs.into_iter().flatten() {
                            let held = Held { job };
                            store.event(held.job.id, held.ended(outcome.clone()), at(step)).await;
                        }
                    }
                    None
                }
            };
            if let Some(event) = event {
                let ours = one.apply(id, event.clone(), at(step)).await.unwrap();
                let theirs = other.apply(id, event, at(step)).await.unwrap();
                let along = |applied: Option<crate::store::Applied>| applied.map(|it| it.along);
                assert_eq!(along(ours), along(theirs), "seed {seed}, step {step}, job {id}");
            }
            assert_eq!(picture(&one).await, picture(&other).await, "seed {seed}, step {step}");
        }
        (jobs, skipped) = (jobs + known, skipped + count(&one, "skipped").await);
        freed += count(&one, "Completed").await;
    }
    assert!(
        jobs > 200 && skipped > 20 && freed > 50,
        "{jobs} jobs, {skipped} skipped, {freed} completed"
    );
}

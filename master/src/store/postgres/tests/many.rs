//! Several masters at once: whatever they do comes to the same as if one had done it.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::{join, join_all};
use orchestra_contracts::{Array, JobId, JobRef, JobSpec, QueueChange, WorkerName};
use sqlx::postgres::PgListener;
use tokio::{task::JoinSet, time::timeout};

use super::{Place, PostgresStore, at, claim, ended, specs};
use crate::{
    domain::{JobEvent, NewJob, plan},
    store::{
        Fingerprint, JobFilter, Notification, Once, Store as _, Submitted,
        postgres::listener::CHANNEL,
    },
};

/// Long enough for a message from one master to another on a busy machine.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_that_start_together_migrate_once() {
    let Some(place) = Place::new() else { return };
    let (one, other) = join(place.open(), place.open()).await;
    one.insert(specs(1), at(0).now).await.unwrap();
    assert!(other.job(JobId(1)).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_masters_hand_out_each_job_once() {
    let Some(place) = Place::new() else { return };
    let masters: Vec<Arc<PostgresStore>> =
        join_all((0..3).map(|_| place.open())).await.into_iter().map(Arc::new).collect();
    masters[0].insert(specs(300), at(0).now).await.unwrap();
    let left = Arc::new(AtomicUsize::new(300));
    let mut claimers = JoinSet::new();
    for number in 0..9 {
        let (master, left) = (masters[number % 3].clone(), left.clone());
        claimers.spawn(async move {
            let mut mine = Vec::new();
            while left.load(Ordering::SeqCst) > 0 {
                let wanted = claim(&format!("worker-{number}"), 1 + number % 4);
                let jobs = master.claim(vec![wanted], at(1)).await.unwrap().remove(0);
                left.fetch_sub(jobs.len(), Ordering::SeqCst);
                assert!(jobs.is_sorted_by_key(|job| job.id), "in the order of their line");
                mine.extend(jobs.iter().map(|job| job.id.0));
            }
            mine
        });
    }
    let claimed: Vec<i64> = claimers.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 300, "none twice");
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), (1..=300).collect(), "none lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_of_a_queue_counts_over_all_masters() {
    let Some(place) = Place::new() else { return };
    let masters = join_all((0..3).map(|_| place.open())).await;
    let change = QueueChange { concurrency: Some(Some(2)), paused: None };
    masters[0].change_queue(&"default".parse().unwrap(), change, at(0).now).await.unwrap();
    masters[0].insert(specs(60), at(0).now).await.unwrap();
    for _ in 0..15 {
        let claims = masters.iter().map(|master| master.claim(vec![claim("w", 3)], at(1)));
        let rounds = join_all(claims).await;
        let jobs: Vec<_> = rounds.into_iter().flat_map(Result::unwrap).flatten().collect();
        assert_eq!(jobs.len(), 2, "there is room for two, and somebody takes it");
        for (job, master) in jobs.iter().zip(&masters) {
            master.apply(job.id, ended(job), at(2)).await.unwrap().unwrap().result.unwrap();
        }
    }
}

/// Each sees the other's end only when it has waited for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_of_two_masters_at_once_set_free_what_waits_for_both() {
    let Some(place) = Place::new() else { return };
    let (one, other) = join(place.open(), place.open()).await;
    for _ in 0..20 {
        let pair = one.insert(specs(2), at(0).now).await.unwrap();
        let after = pair.iter().map(|job| JobRef::Id(job.id)).collect();
        let third = plan(&[JobSpec { after_any: after, ..JobSpec::new("true") }]).unwrap();
        let Submitted::New(third) = one.submit(third, None, at(0).now).await.unwrap() else {
            panic!("it is new");
        };
        let (first, second) = join(
            one.apply(pair[0].id, JobEvent::CancelRequested, at(1)),
            other.apply(pair[1].id, JobEvent::CancelRequested, at(1)),
        )
        .await;
        assert!(first.unwrap().is_some() && second.unwrap().is_some());
        let jobs = other.claim(vec![claim("w", 9)], at(2)).await.unwrap().remove(0);
        assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [third[0].id]);
    }
}

/// What is submitted waits for a job that ends at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_job_that_another_master_has_ended() {
    let Some(place) = Place::new() else { return };
    let (one, other) = join(place.open(), place.open()).await;
    for _ in 0..20 {
        let first = one.insert(specs(1), at(0).now).await.unwrap().remove(0);
        let after = vec![JobRef::Id(first.id)];
        let waits = plan(&[JobSpec { after_any: after, ..JobSpec::new("true") }]).unwrap();
        let (ends, submitted) = join(
            one.apply(first.id, JobEvent::CancelRequested, at(1)),
            other.submit(waits, None, at(1).now),
        )
        .await;
        ends.unwrap().unwrap().result.unwrap();
        let Submitted::New(new) = submitted.unwrap() else { panic!("it is new") };
        let jobs = one.claim(vec![claim("w", 9)], at(2)).await.unwrap().remove(0);
        assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [new[0].id]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_of_an_array_are_given_by_all_masters_together() {
    let Some(place) = Place::new() else { return };
    let masters = join_all((0..2).map(|_| place.open())).await;
    let array: Array = "1-20%4".parse().unwrap();
    let jobs = plan(&[JobSpec { array: Some(array), ..JobSpec::new("true") }]).unwrap();
    masters[0].submit(jobs, None, at(0).now).await.unwrap();
    let mut done = 0;
    while done < 20 {
        let jobs = masters[0].claim(vec![claim("w", 20)], at(1)).await.unwrap().remove(0);
        assert_eq!(jobs.len(), 4.min(20 - done), "as many as may run at once");
        let ends = jobs
            .iter()
            .enumerate()
            .map(|(number, job)| masters[number % 2].apply(job.id, ended(job), at(2)));
        for applied in join_all(ends).await {
            applied.unwrap().unwrap().result.unwrap();
        }
        done += jobs.len();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_submissions_with_one_key_one_is_done() {
    let Some(place) = Place::new() else { return };
    let (one, other) = join(place.open(), place.open()).await;
    for number in 0..20 {
        let key = format!("key-{number}").parse().unwrap();
        let once = Once { token: None, key, fingerprint: Fingerprint([7; 32]) };
        let submit = |store| {
            let jobs = specs(1).into_iter().map(NewJob::from).collect();
            PostgresStore::submit(store, jobs, Some(once.clone()), at(0).now)
        };
        let answers = join(submit(&one), submit(&other)).await;
        let (first, second) = (answers.0.unwrap(), answers.1.unwrap());
        let is_new = |answer: &Submitted| matches!(answer, Submitted::New(_));
        assert!(is_new(&first) != is_new(&second), "{first:?} {second:?}");
    }
    let all = JobFilter { limit: 99, ..JobFilter::default() };
    assert_eq!(one.jobs(&all).await.unwrap().len(), 20);
}

/// Whoever reads on behind the last id that it saw must not miss one that comes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_become_visible_in_their_order() {
    let Some(place) = Place::new() else { return };
    let masters = join_all((0..3).map(|_| place.open())).await;
    let writes = masters.iter().map(|master| async {
        for _ in 0..40 {
            master.insert(specs(2), at(0).now).await.unwrap();
        }
    });
    let reads = async {
        let mut seen = Vec::new();
        while seen.len() < 240 {
            let after = seen.last().copied().map(JobId);
            let filter = JobFilter { after, limit: 1000, ..JobFilter::default() };
            seen.extend(masters[0].jobs(&filter).await.unwrap().iter().map(|job| job.id.0));
        }
        seen
    };
    let (seen, _) = timeout(4 * SOON, join(reads, join_all(writes))).await.expect("none is missed");
    assert_eq!(seen, (1..=240).collect::<Vec<_>>());
}

/// The next that is not only "look everywhere", which is said at the beginning.
async fn heard(store: &PostgresStore) -> Notification {
    loop {
        let notification = timeout(SOON, store.notification()).await.expect("it is told");
        if !notification.everything {
            return notification;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_master_commits_the_others_hear() {
    let Some(place) = Place::new() else { return };
    let (one, other) = join(place.open(), place.open()).await;
    for store in [&one, &other] {
        assert!(timeout(SOON, store.notification()).await.expect("it listens").everything);
    }
    one.insert(specs(1), at(0).now).await.unwrap();
    assert!(heard(&other).await.claimable);
    let job = other.claim(vec![claim("w", 1)], at(1)).await.unwrap().remove(0).remove(0);
    assert_eq!(heard(&one).await.jobs, BTreeSet::from([job.id]));
    one.apply(job.id, JobEvent::CancelRequested, at(2)).await.unwrap();
    let worker: WorkerName = "w".parse().unwrap();
    assert_eq!(heard(&other).await.workers, BTreeSet::from([worker]));
    other.apply(job.id, ended(&job), at(3)).await.unwrap();
    assert!(heard(&one).await.ended);
    assert!(
        timeout(Duration::from_millis(300), other.notification()).await.is_err(),
        "not its own"
    );
}

/// What was said while a session was away is made up for by one look everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_cut_off_looks_everywhere_and_hears_again() {
    let Some(place) = Place::new() else { return };
    let (one, other) = join(place.open(), place.open()).await;
    for store in [&one, &other] {
        assert!(timeout(SOON, store.notification()).await.expect("it listens").everything);
    }
    for _ in 0..2 {
        place.cut_off("query LIKE 'LISTEN%'");
        for store in [&one, &other] {
            let news = timeout(SOON, store.notification()).await.expect("it listens again");
            assert!(news.everything, "{news:?}");
        }
        one.insert(specs(1), at(0).now).await.unwrap();
        assert!(heard(&other).await.claimable);
    }
}

/// Which transactions have added jobs.
const NOTE_COMMITS: &str = "
    CREATE TABLE added (by xid8 PRIMARY KEY);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO added VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING;
        RETURN NULL;
    END $$;
    CREATE TRIGGER note AFTER INSERT ON job EXECUTE FUNCTION note()";

/// Many calls share a commit, and a commit is one message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_told_once_whatever_is_in_it() {
    const CALLS: usize = 200;
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    place.run(NOTE_COMMITS);
    let mut listener = PgListener::connect(&place.url).await.unwrap();
    listener.listen(CHANNEL).await.unwrap();
    let calls = (0..CALLS).map(|_| store.insert(specs(2), at(0).now));
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    let mut told = Vec::new();
    while let Ok(message) = timeout(Duration::from_secs(2), listener.recv()).await {
        told.push(message.unwrap().payload().to_owned());
    }
    let commits: usize = place.run("SELECT count(*) FROM added").parse().unwrap();
    assert_eq!(told.len(), commits, "{told:?}");
    assert!(commits < CALLS / 2, "they share commits: {commits}");
    assert!(told.iter().all(|message| message.contains("\"claimable\":true")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_master_leads_until_it_is_gone() {
    let Some(place) = Place::new() else { return };
    let (one, other) = join(place.open(), place.open()).await;
    assert!(one.leads().await.unwrap());
    assert!(!other.leads().await.unwrap());
    assert!(one.leads().await.unwrap(), "it stays so");
    one.close().await;
    assert!(other.leads().await.unwrap());
    // As if the server had lost it.
    let third = place.open().await;
    assert!(!third.leads().await.unwrap());
    place.cut_off("pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')");
    let taken = timeout(SOON, async {
        while !third.leads().await.unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    taken.await.expect("it is taken over");
    assert!(!other.leads().await.unwrap_or(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_is_read_that_all_masters_share() {
    let Some(place) = Place::new() else { return };
    let (one, other) = join(place.open(), place.open()).await;
    let first = one.time().await.unwrap().unwrap();
    let second = other.time().await.unwrap().unwrap();
    assert!(second >= first && second.duration_since(first).as_secs() < 20);
}

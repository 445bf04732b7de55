//! That the numbers of jobs that masters keep together are those that a count finds.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use orchestra_contracts::{JobId, JobSpec, JobStatus, Outcome};
use rand::RngExt as _;
use tokio::{task::JoinSet, time::sleep};

use super::{Place, PostgresStore, at, claim_spec, ended};
use crate::{
    domain::{Job, JobEvent},
    store::{Bounds, ClaimSpec, JobFilter, ListOrder, Part, Store as _, StoreError},
};

const QUEUES: [&str; 3] = ["default", "one", "two"];

/// What a master says of the queues that have open jobs: name, pending, held.
pub(super) async fn numbers(store: &PostgresStore) -> String {
    let queues = store.queues().await.unwrap().into_iter();
    let open = queues.filter(|queue| queue.pending + queue.held > 0);
    let words = open.map(|it| format!("{} {} {};", it.name, it.pending, it.held));
    words.collect::<Vec<_>>().concat()
}

/// What a count finds, in the same words.
fn counted(place: &Place) -> String {
    place.run(
        "SELECT string_agg(format('%s %s %s;', queue, pending, held), '' ORDER BY queue) FROM (
             SELECT queue, count(*) FILTER (WHERE status = 'Pending') AS pending,
                    count(*) FILTER (WHERE status <> 'Pending') AS held
             FROM job WHERE status IN ('Pending', 'Assigned', 'Running') GROUP BY queue) AS open",
    )
}

fn spec(queue: &str) -> JobSpec {
    JobSpec { queue: queue.to_owned(), ..JobSpec::new("true") }
}

fn below(bound: usize) -> usize {
    rand::rng().random_range(0..bound)
}

/// A job among the newest that is this.
async fn some_job(
    store: &PostgresStore,
    statuses: &[JobStatus],
) -> Result<Option<Job>, StoreError> {
    let statuses = statuses.to_vec();
    let filter =
        JobFilter { statuses, limit: 20, order: ListOrder::Newest, ..JobFilter::default() };
    let jobs = store.jobs(&filter).await?;
    Ok((!jobs.is_empty()).then(|| jobs[below(jobs.len())].clone()))
}

/// One thing that somebody could ask of a master. Whether it comes to anything does not matter.
async fn step(store: &PostgresStore, second: i64) -> Result<(), StoreError> {
    let now = at(second);
    match below(12) {
        0..4 => {
            let jobs = (0..=below(4)).map(|_| spec(QUEUES[below(3)]));
            store.insert(jobs.collect(), now.now).await?;
        }
        4..7 => {
            let queues = QUEUES.map(str::to_owned).to_vec();
            store.claim(vec![ClaimSpec { queues, ..claim_spec("w", 3) }.into()], now).await?;
        }
        7..9 => {
            let Some(job) = some_job(store, &[JobStatus::Assigned, JobStatus::Running]).await?
            else {
                return Ok(());
            };
            let mut event = ended(&job);
            let JobEvent::Ended { outcome, proof, .. } = &mut event else { unreachable!() };
            *outcome = match below(4) {
                0 => Outcome::Exited { code: 0 },
                1 => Outcome::Exited { code: 1 },
                2 => Outcome::HandedBack,
                _ => {
                    let started = JobEvent::Started { proof: proof.clone(), ran: None };
                    return store.apply(job.id, started, now).await.map(drop);
                }
            };
            store.apply(job.id, event, now).await?;
        }
        9 => {
            let Some(job) = some_job(store, &[]).await? else { return Ok(()) };
            let event = match below(3) {
                0 => JobEvent::CancelRequested,
                1 => JobEvent::DeleteRequested,
                _ => JobEvent::RetryRequested,
            };
            store.apply(job.id, event, now).await?;
        }
        10 => drop(store.expire(at(second + 30), 2).await?),
        _ => {
            let bounds = Bounds { most: Some(50), until: None };
            let jobs = store.prunable(Part::Jobs, bounds, 5).await?;
            store.prune(Part::Jobs, jobs, now.now).await?;
        }
    }
    Ok(())
}

/// Masters are cut off in the middle of it, people help themselves, and upkeep adds up meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_numbers_that_masters_keep_are_those_that_a_count_finds() {
    const STEPS: i64 = 200;
    let Some(place) = Place::new() else { return };
    let masters = join_all((0..3).map(|_| place.open())).await;
    let masters: Vec<Arc<PostgresStore>> = masters.into_iter().map(Arc::new).collect();
    let mut work = JoinSet::new();
    for master in masters.iter().chain(&masters) {
        let master = master.clone();
        work.spawn(async move {
            let mut failed = 0;
            for second in 0..STEPS {
                failed += i64::from(step(&master, second).await.is_err());
            }
            failed
        });
    }
    let (mut looks, mut failed) = (0, 0);
    while !work.is_empty() {
        place.cut_off("application_name = 'orchestra' AND random() < 0.1");
        place.run(
            "UPDATE job SET status = 'Failed', outcome = '{\"kind\":\"lost\"}', finished_at = 1
                   WHERE id = (SELECT max(id) FROM job WHERE status = 'Pending') AND status = 'Pending'",
        );
        place.run("DELETE FROM job WHERE id = (SELECT max(id) FROM job WHERE status = 'Failed')");
        // As if it were an hour later.
        place.run(
            "UPDATE job_count SET changed_at = changed_at - interval '2 hours'
                   WHERE master IS NOT NULL AND random() < 0.3",
        );
        let _ = masters[0].leads().await;
        assert_eq!(place.server.miscounted(place.name()), "", "after {looks} looks");
        looks += 1;
        sleep(Duration::from_millis(50)).await;
        while let Some(ended) = work.try_join_next() {
            failed += ended.unwrap();
        }
    }
    assert!(failed < 3 * STEPS, "{failed} of {} steps failed", 6 * STEPS);
    assert!(looks > 3, "it was looked at {looks} times");
    let counted = counted(&place);
    assert!(!counted.is_empty(), "jobs are left");
    for master in &masters {
        assert_eq!(numbers(master).await, counted);
    }
}

/// Nor does anybody wait for rows that are added up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_masters_that_are_gone_have_counted_is_added_up() {
    let Some(place) = Place::new() else { return };
    for _ in 0..3 {
        let gone = place.open().await;
        gone.insert(vec![spec("one"), spec("two")], at(0).now).await.unwrap();
        let queues = vec!["one".to_owned()];
        gone.claim(vec![ClaimSpec { queues, ..claim_spec("w", 1) }.into()], at(1)).await.unwrap();
        gone.close().await;
    }
    place.run(
        "UPDATE job SET status = 'Cancelled', outcome = '{}', finished_at = 1 WHERE queue = 'two'",
    );
    let rows = || place.run("SELECT count(*), count(master) FROM job_count");
    assert_eq!(rows(), "9|6", "one for each of three masters and two queues, and one a change");
    let mut store = place.open().await;
    assert!(store.leads().await.unwrap());
    assert_eq!(rows(), "7|7", "what has no master is added up at once");
    assert_eq!(numbers(&store).await, "one 0 3;");
    // A queue without open jobs is forgotten an hour after its numbers came to nothing.
    for left in ["2|2", "1|1"] {
        store.close().await;
        place.run("UPDATE job_count SET changed_at = changed_at - interval '2 hours'");
        store = place.open().await;
        while !store.leads().await.unwrap() {
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(rows(), left);
        assert_eq!(numbers(&store).await, "one 0 3;");
    }
    store.insert(vec![spec("one")], at(2).now).await.unwrap();
    assert_eq!(numbers(&store).await, "one 1 3;");
    store.close().await;
}

/// A program from before the numbers were kept goes on beside ours, or a person helps themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_count_is_counted() {
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    store.insert(vec![spec("one"); 5], at(0).now).await.unwrap();
    for (change, left) in [
        (
            "UPDATE job SET status = 'Assigned', token = 't', expires_at = 1, stop = 'No' WHERE id < 3",
            "one 3 2;",
        ),
        ("UPDATE job SET status = 'Running' WHERE id = 1", "one 3 2;"),
        ("UPDATE job SET expires_at = 2 WHERE id = 1", "one 3 2;"),
        ("UPDATE job SET queue = 'two' WHERE id > 3", "one 1 2;two 2 0;"),
        ("DELETE FROM job WHERE id IN (2, 4)", "one 1 1;two 1 0;"),
        (
            "INSERT INTO job (id, spec, queue, priority, status, created_at)
             SELECT 100 + id, spec, 'three', priority, 'Pending', 1 FROM job",
            "one 1 1;three 3 0;two 1 0;",
        ),
    ] {
        place.run(change);
        assert_eq!(numbers(&store).await, left, "{change}");
        assert_eq!(place.server.miscounted(place.name()), "", "{change}");
    }
    // Whoever counts is not counted.
    store.apply(JobId(3), JobEvent::CancelRequested, at(1)).await.unwrap().unwrap();
    assert_eq!(numbers(&store).await, "one 0 1;three 3 0;two 1 0;");
    store.close().await;
}

/// Also where old masters go on writing while the tables are brought up to date.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_before_the_numbers_is_counted_once() {
    let Some(place) = Place::new() else { return };
    place.open().await.close().await;
    place.run(
        "DROP TABLE job_count; DROP FUNCTION job_count_change CASCADE;
         DELETE FROM _sqlx_migrations WHERE version = 16;
         INSERT INTO job (id, spec, queue, priority, status, created_at, outcome, finished_at)
         SELECT n, '{\"command\":\"true\"}', 'q' || n % 2, 0,
                CASE WHEN n > 4 THEN 'Completed' ELSE 'Pending' END, 1,
                CASE WHEN n > 4 THEN '{}' END, CASE WHEN n > 4 THEN 1 END
         FROM generate_series(1, 9) AS n",
    );
    let store = place.open().await;
    assert_eq!(numbers(&store).await, "q0 2 0;q1 2 0;");
    store.close().await;
}

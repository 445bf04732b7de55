//! A server that is restarted, that cuts sessions off, or that dies while it commits.

use std::time::Duration;

use orchestra_contracts::{JobId, JobSpec};
use orchestra_tests::{Proxy, Toxic};
use sqlx::ConnectOptions as _;

use super::{Place, PostgresStore, at, specs};
use crate::{
    domain::NewJob,
    store::{
        Fingerprint, JobFilter, Once, Store as _, StoreError, Submitted, postgres::open::options,
    },
};

async fn count(store: &PostgresStore) -> usize {
    store.jobs(&JobFilter { limit: 1000, ..JobFilter::default() }).await.unwrap().len()
}

/// What was not committed is done again on another session, and callers notice nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_cut_off_costs_nobody_an_answer() {
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    for round in 1..=5 {
        place.cut_off("true");
        store.insert(specs(1), at(0).now).await.unwrap();
        store.check().await.unwrap();
        assert_eq!(count(&store).await, round);
    }
}

/// The session dies with its commit: the trigger ends it there.
const DIE_AT_COMMIT: &str = "
    CREATE SEQUENCE tries;
    CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM nextval('tries'), pg_terminate_backend(pg_backend_pid());
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER die AFTER INSERT ON job DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION die()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_committed_is_not_done_again_and_not_called_done() {
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    place.run(DIE_AT_COMMIT);
    let once =
        Once { token: None, key: "a-key".parse().unwrap(), fingerprint: Fingerprint([7; 32]) };
    let submit = || {
        let jobs: Vec<_> = specs(1).into_iter().map(NewJob::from).collect();
        store.submit(jobs, Some(once.clone()), at(0).now)
    };
    let error = submit().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("whether it was stored is not known"), "{error}");
    assert_eq!(place.run("SELECT last_value FROM tries"), "1", "tried once");
    place.run("DROP TRIGGER die ON job");
    assert!(matches!(submit().await.unwrap(), Submitted::New(_)), "it was not stored");
    assert!(matches!(submit().await.unwrap(), Submitted::Before(_)));
    assert_eq!(count(&store).await, 1);
}

/// The commit takes long enough to take its answer away meanwhile.
const COMMIT_SLOWLY: &str = "
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_sleep(1);
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON job DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION dawdle()";
const UNDER_WAY: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";

/// The other half of what is not known: it was stored, and the answer is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_without_an_answer_is_found_by_its_key() {
    let Some(place) = Place::new() else { return };
    let (before, name) = place.url.rsplit_once('/').unwrap();
    let server = before.rsplit('@').next().unwrap().parse().unwrap();
    let network = Proxy::before(server).await;
    let url =
        format!("{}/{name}", before.replace(&server.to_string(), &network.address.to_string()));
    let store = PostgresStore::open(&url).await.unwrap();
    place.run(COMMIT_SLOWLY);
    let once =
        Once { token: None, key: "a-key".parse().unwrap(), fingerprint: Fingerprint([7; 32]) };
    let submit = || {
        let jobs: Vec<_> = specs(1).into_iter().map(NewJob::from).collect();
        store.submit(jobs, Some(once.clone()), at(0).now)
    };
    let part = async {
        while tokio::task::block_in_place(|| place.run(UNDER_WAY)) != "1" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        network.set(Toxic::DropAnswers);
    };
    let (answer, ()) = futures::future::join(submit(), part).await;
    let error = answer.unwrap_err();
    assert!(error.to_string().contains("whether it was stored is not known"), "{error}");
    assert_eq!(place.run("SELECT count(*) FROM job"), "1", "it was, and once");
    network.heal();
    let Submitted::Before(jobs) = submit().await.unwrap() else { panic!("it was done twice") };
    assert_eq!(jobs, [JobId(1)]);
    assert_eq!(count(&store).await, 1);
}

/// An answer of 201 says that the job is on the disk, whatever the server does for others.
#[tokio::test]
async fn commits_are_durable_whatever_the_server_does_otherwise() {
    let Some(place) = Place::new() else { return };
    place.run(&format!("ALTER DATABASE \"{}\" SET synchronous_commit = off", place.name()));
    let mut connection = options(&place.url).unwrap().connect().await.unwrap();
    let asked = sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&mut connection).await;
    let waits: String = asked.unwrap();
    assert_eq!(waits, "on");
}

/// Two that stand in each other's way: the server ends one, which is done again.
const BE_IN_THE_WAY: &str = "
    CREATE SEQUENCE tries;
    CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('tries') < 3 THEN
            RAISE EXCEPTION 'in the way' USING ERRCODE = 'serialization_failure';
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER conflict AFTER INSERT ON job DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION conflict()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_stand_in_the_way_of_is_done_again() {
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    place.run(BE_IN_THE_WAY);
    store.insert(specs(1), at(0).now).await.unwrap();
    assert_eq!(place.run("SELECT last_value FROM tries"), "3");
    assert_eq!(count(&store).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_and_comes_back_has_all_that_was_answered() {
    let Some(server) = orchestra_tests::Postgres::start() else { return };
    let store = PostgresStore::open(&server.database()).await.unwrap();
    let writes = async {
        let (mut stored, mut unknown) = (0, 0);
        for _ in 0..200 {
            match store.insert(specs(1), at(0).now).await {
                Ok(_) => stored += 1,
                Err(StoreError::Unavailable { .. }) => unknown += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        (stored, unknown)
    };
    let crashes = async {
        for _ in 0..2 {
            tokio::task::block_in_place(|| server.crash_and_restart());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ((stored, unknown), ()) = futures::future::join(writes, crashes).await;
    let found = count(&store).await;
    assert!((stored..=stored + unknown).contains(&found), "{found} of {stored} and {unknown}");
    assert!(unknown <= 2, "a crash costs at most what is being committed: {unknown}");
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_of_without_the_password() {
    let error = PostgresStore::open("postgres://u:hunter2@127.0.0.1:1/db").await.unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error:?}");
    assert!(error.to_string().contains("can be reached"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

/// Text of a job may hold what PostgreSQL's own JSON cannot say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nul_in_the_input_of_a_job_hides_no_job_from_a_search() {
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    let stdin = Some("a\0b".to_owned());
    let labels = [("team".to_owned(), "a".to_owned())];
    let spec = JobSpec { stdin, labels: labels.clone().into(), ..JobSpec::new("cat needle") };
    store.insert(vec![spec.clone()], at(0).now).await.unwrap();
    let filter = JobFilter {
        text: Some("NEEDLE".to_owned()),
        labels: labels.into(),
        limit: 9,
        ..JobFilter::default()
    };
    let found = store.jobs(&filter).await.unwrap();
    assert_eq!(found.iter().map(|job| job.id).collect::<Vec<_>>(), [JobId(1)]);
    assert_eq!(found[0].spec, spec);
}

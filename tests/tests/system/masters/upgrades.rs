//! Masters of two versions side by side, and a schema that is newer than both.

use std::time::Duration;

use orchestra_tests::{Masters, Postgres, program, say, turn, wait};
use tokio::time::sleep;

use super::load::{CALLERS, JOBS, Load, lock};

/// Time between two steps of an upgrade, in which both versions work side by side.
const SIDE_BY_SIDE: Duration = Duration::from_secs(3);

/// What a newer program would do to the schema: a column with a default, a column that is filled, a
/// table, an index, and the migration's record.
const NEWER: &str = "
    BEGIN;
    ALTER TABLE job ADD COLUMN newer_words text NOT NULL DEFAULT 'none';
    ALTER TABLE attempt ADD COLUMN newer_count bigint;
    CREATE TABLE newer (job bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
    CREATE FUNCTION newer() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO newer (job) VALUES (NEW.id); RETURN NEW; END $$;
    CREATE TRIGGER newer AFTER INSERT ON job FOR EACH ROW EXECUTE FUNCTION newer();
    CREATE INDEX newer_job ON job (newer_words, id);
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'additive newer', true, '\\x00', 0);
    COMMIT;";

/// Upgrades from `ORCHESTRA_OLD`, an earlier program, or from this one to itself. Half-way, the schema
/// becomes that of a still newer program, which only adds to it. Running masters go on, new ones
/// start, and so does one that is taken back to the old program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_that_are_upgraded_one_by_one_lose_nothing() {
    let turn = turn().await;
    let Some(server) = Postgres::shared() else { return };
    let old = orchestra_tests::old_program();
    let old = old.as_deref().unwrap_or(program::path());
    let url = server.database();
    let database = url.rsplit('/').next().expect("its name is the last part").to_owned();
    let mut masters = Masters::start(0, url, "10s", Some(turn));
    for _ in 0..3 {
        masters.add(old);
        masters.are_ready().await;
    }
    // So that there is work from the first step to the last.
    let mut load = Load::begin(&masters, SIDE_BY_SIDE / 20);
    let rounds = [(0, program::path()), (1, program::path()), (2, old), (2, program::path())];
    let mut before = 0;
    for (round, (number, program)) in rounds.into_iter().enumerate() {
        sleep(SIDE_BY_SIDE).await;
        if round == 1 {
            before = lock(&load.seen).submitted.len();
            assert!(before < JOBS, "no work is left for the new schema");
            let _ = tokio::task::block_in_place(|| server.run(&database, NEWER));
            // The other masters go on meanwhile. One master is killed instead of stopped in order.
            masters.all[number].program.kill();
        } else {
            masters.all[number].program.terminate().await;
        }
        masters.again_as(number, program);
        masters.are_ready().await;
        // The counters must also agree after changes by masters of the old program.
        assert_eq!(tokio::task::block_in_place(|| server.miscounted(&database)), "");
    }
    wait::until("all jobs to be submitted", wait::JOB, async || load.is_submitted().then_some(()))
        .await;
    let told = load.ends_well().await;
    let count = |question: &str| {
        let said = tokio::task::block_in_place(|| server.run(&database, question));
        said.parse::<usize>().expect("it is a number")
    };
    assert_eq!(count("SELECT count(*) FROM job WHERE newer_words = 'none'"), JOBS);
    let since = count("SELECT count(*) FROM newer");
    assert_eq!(tokio::task::block_in_place(|| server.miscounted(&database)), "");
    assert!(since > 0 && since + before <= JOBS + CALLERS, "{since} since, {before} before");
    say(&format!(
        "from {} to this program: {told}; {since} jobs under newer tables",
        old.display()
    ));
    masters.stop().await;
}

//! What is opened, what is refused, and in which words.

use std::{fs, io::Write as _};

use sqlx::Connection as _;

use super::{Place, at, specs};
use crate::store::{
    Store as _,
    sqlite::open::{MIGRATIONS, prepare},
};

#[tokio::test]
async fn commits_reach_the_disk_and_readers_do_not_wait() {
    let place = Place::new();
    let (_lock, mut connection) = prepare(&place.path).await.unwrap();
    for (pragma, expected) in [
        ("PRAGMA journal_mode", "wal"),
        ("PRAGMA synchronous", "2"),
        ("PRAGMA foreign_keys", "1"),
        ("PRAGMA busy_timeout", "5000"),
    ] {
        let row = sqlx::query(pragma).fetch_one(&mut connection).await.unwrap();
        let value: String = sqlx::Row::try_get_unchecked(&row, 0).unwrap();
        assert_eq!(value, expected, "{pragma}");
    }
}

#[tokio::test]
async fn the_folder_is_created_and_every_migration_applied() {
    let mut place = Place::new();
    place.path = place.folder.path().join("a/b/jobs.db");
    place.open().await.close().await;
    let mut outsider = place.outsider().await;
    let applied: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations ORDER BY version")
            .fetch_all(&mut outsider)
            .await
            .unwrap();
    assert_eq!(applied, MIGRATIONS.iter().map(|one| one.version).collect::<Vec<_>>());
}

/// Also tells when the build has not noticed a new file.
#[test]
fn migrations_are_numbered_without_a_gap() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected: Vec<String> = (1..)
        .zip(MIGRATIONS.iter())
        .map(|(number, one)| format!("{number:04}_{}.sql", one.description.replace(' ', "_")))
        .collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_second_master_is_refused_until_the_first_has_closed() {
    let place = Place::new();
    let first = place.open().await;
    let refusal = place.refusal().await;
    let pid = std::process::id();
    assert!(
        refusal.contains(&format!("is in use by process {pid}; stop that master")),
        "{refusal}"
    );
    first.close().await;
    let second = place.open().await;
    second.check().await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_is_refused() {
    let mut place = Place::new();
    fs::write(&place.path, "").unwrap();
    place.path = place.path.join("below/jobs.db");
    let refusal = place.refusal().await;
    assert!(refusal.contains("cannot be created"), "{refusal}");
    assert!(refusal.contains("another place"), "{refusal}");
}

#[tokio::test]
async fn a_folder_in_place_of_the_file_is_refused() {
    let place = Place::new();
    fs::create_dir(&place.path).unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains("cannot be opened"), "{refusal}");
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let place = Place::new();
    fs::write(&place.path, "Dear diary, ".repeat(1000)).unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains("not a database; restore it from a backup"), "{refusal}");
    assert!(fs::read_to_string(&place.path).unwrap().starts_with("Dear diary"), "left alone");
}

async fn with_jobs() -> Place {
    let place = Place::new();
    let store = place.open().await;
    store.insert(specs(2000), at(0).now).await.unwrap();
    store.close().await;
    place
}

#[tokio::test]
async fn damaged_pages_are_refused() {
    let place = with_jobs().await;
    let mut bytes = fs::read(&place.path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0x5a);
    fs::write(&place.path, bytes).unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains("jobs.db"), "{refusal}");
    assert!(refusal.contains("restore it from a backup"), "{refusal}");
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
}

#[tokio::test]
async fn a_file_that_was_cut_is_refused() {
    let place = with_jobs().await;
    let file = fs::OpenOptions::new().write(true).open(&place.path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 4096).unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains("restore it from a backup"), "{refusal}");
}

#[tokio::test]
async fn a_log_without_its_database_is_refused() {
    let place = Place::new();
    let wal = place.folder.path().join("jobs.db-wal");
    fs::File::create(&wal).unwrap().write_all(b"commits").unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains("its -wal file is there; put the database back"), "{refusal}");
    assert!(wal.exists());
}

#[tokio::test]
async fn a_newer_schema_is_refused_unless_it_only_adds() {
    let place = with_jobs().await;
    let migrated = async |version: i64, words: &str| {
        let mut outsider = place.outsider().await;
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (?, ?, true, x'00', 0)",
        )
        .bind(version)
        .bind(words)
        .execute(&mut outsider)
        .await
        .unwrap();
        outsider.close().await.unwrap();
    };
    migrated(9998, "additive notes").await;
    let store = place.open().await;
    store.insert(specs(1), at(0).now).await.unwrap();
    store.close().await;
    migrated(9999, "later").await;
    let refusal = place.refusal().await;
    assert!(refusal.contains("written by a newer Orchestra"), "{refusal}");
}

#[tokio::test]
async fn the_database_of_another_program_is_refused() {
    let place = Place::new();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&place.path);
    let options = options.create_if_missing(true);
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query("CREATE TABLE job (name TEXT)").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains("give the master a database of its own"), "{refusal}");
}

#[tokio::test]
async fn a_database_that_went_missing_is_not_begun_anew() {
    let place = with_jobs().await;
    let aside = place.folder.path().join("aside.db");
    fs::rename(&place.path, &aside).unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains("is missing, though a master has kept jobs in it"), "{refusal}");
    assert!(refusal.contains("remove the .lock file"), "{refusal}");
    assert!(!place.path.exists(), "none is created");
    fs::rename(&aside, &place.path).unwrap();
    place.open().await.close().await;
    fs::remove_file(&place.path).unwrap();
    fs::remove_file(place.folder.path().join("jobs.db.lock")).unwrap();
    place.open().await.close().await;
}

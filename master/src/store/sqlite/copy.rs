//! Backup and restoration of a SQLite file.

mod before;
mod files;

use std::{
    fmt,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use orchestra_contracts::{JobId, Size};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use self::{
    before::{Before, go_on_counting},
    files::{Leftover, create, folder, give, is_same, sync},
};
use super::{
    lock::{LockFile, beside},
    offline::{missing, move_away},
    open::{MIGRATIONS, about, check_pages, migrate, read_options, write_link, write_options},
};
use crate::store::{
    Backup, Restored, SettleTerms, Settled, StoreError,
    connection::{Connection, Link},
    settle::settle,
};

pub(in crate::store) async fn backup(database: &Path, file: &Path) -> Result<Backup, StoreError> {
    if !database.is_file() {
        return Err(missing(database));
    }
    if file.exists() {
        return Err(StoreError::Unusable {
            reason: format!("{} exists", file.display()),
            hint: "choose another name, or remove it",
        });
    }
    let unique = format!(".{:08x}.partial", rand::random::<u32>());
    let partial = Leftover(beside(file, &unique));
    let target = partial.0.to_str().ok_or_else(|| cannot(file, "its name is not UTF-8"))?;
    create(&partial.0).map_err(|error| cannot(file, error))?;
    // One that reads holds up nobody: the writer's log grows a little longer meanwhile, and that is all.
    let mut source =
        read_options(database).connect().await.map_err(|error| about(database, error))?;
    schema(database, &mut source).await?;
    let copied = sqlx::query("VACUUM INTO $1").bind(target).execute(&mut source).await;
    let _ = source.close().await;
    copied.map_err(|error| about(file, error))?;
    let checked = check(&partial.0).await?;
    sync(&partial.0)
        .and_then(|()| fs::rename(&partial.0, file))
        .and_then(|()| sync(folder(file)))
        .map_err(|error| cannot(file, error))?;
    Ok(checked)
}

pub(in crate::store) async fn restore(
    database: &Path,
    file: &Path,
    terms: SettleTerms,
) -> Result<Restored, StoreError> {
    if is_same(file, database) {
        return Err(StoreError::Unusable {
            reason: format!("{} is the database itself", file.display()),
            hint: "name a file that `orchestra admin backup` has written",
        });
    }
    let private = DirBuilder::new().recursive(true).mode(0o700).create(folder(database));
    private.map_err(|error| cannot(database, error))?;
    let mut lock = LockFile::take(database)?;
    let Backup { jobs, schema, .. } = check(file).await?;
    refuse_newer(file, schema)?;
    let copy = Leftover(beside(database, ".restoring"));
    copy.remove();
    let copied =
        create(&copy.0).and_then(|mut target| io::copy(&mut File::open(file)?, &mut target));
    copied.map_err(|error| cannot(&copy.0, error))?;
    let before = Before::of(database).await;
    let (settled, last, revoked) = prepare(&copy.0, before.as_ref(), terms).await?;
    sync(&copy.0).map_err(|error| cannot(&copy.0, error))?;
    let kept = database.exists().then(|| {
        let time = terms.now.strftime("%Y%m%dT%H%M%SZ");
        beside(database, &format!(".before-{time}"))
    });
    let owner = if kept.is_some() { database } else { folder(database) };
    for ours in [copy.0.clone(), beside(database, ".lock")] {
        give(&ours, owner).map_err(|error| cannot(&ours, error))?;
    }
    // A write-ahead log without its file belongs to nobody, and has to go as well.
    let aside = kept.clone().unwrap_or_else(|| beside(database, ".before"));
    move_away(database, &aside)?;
    fs::rename(&copy.0, database)
        .and_then(|()| sync(folder(database)))
        .map_err(|error| cannot(database, error))?;
    lock.note_database()?;
    Ok(Restored { kept, jobs, last, revoked, settled })
}

/// Prepares a restored copy for its master.
async fn prepare(
    copy: &Path,
    before: Option<&Before>,
    terms: SettleTerms,
) -> Result<(Settled, JobId, Option<u64>), StoreError> {
    let mut link = write_options(copy).connect().await.map_err(|error| about(copy, error))?;
    check_pages(copy, &mut link).await?;
    migrate(copy, &mut link).await?;
    let last = go_on_counting(&mut link, before).await?;
    let revoked = match before {
        Some(before) => Some(before.revoke(&mut link).await?),
        None => None,
    };
    link.close().await?;
    let link = write_link(copy)?;
    link.execute_batch("BEGIN IMMEDIATE")?;
    let mut connection = Connection::new(Link::Sqlite(link));
    let settled = settle(&mut connection, terms).await?;
    if let Link::Sqlite(link) = connection.into_link() {
        link.execute_batch("COMMIT")?;
        // Closed, it is one file.
        link.close().map_err(|(_, error)| error)?;
    }
    Ok((settled, last, revoked))
}

/// Checks that a file is a complete database of ours; returns what is in it.
async fn check(file: &Path) -> Result<Backup, StoreError> {
    let size = fs::metadata(file).map_err(|error| cannot_read(file, &error))?.len();
    if size == 0 {
        return Err(no_backup(file));
    }
    // Nobody writes to it, and nothing may be left beside it.
    let options = read_options(file).immutable(true);
    let mut link = options.connect().await.map_err(|error| about(file, error))?;
    let schema = schema(file, &mut link).await?;
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(&mut link)
        .await
        .map_err(|error| about(file, error))?;
    if found != "ok" {
        return Err(damaged(file, found));
    }
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM job").fetch_one(&mut link).await?;
    let _ = link.close().await;
    Ok(Backup { size: Size(size), jobs: jobs as u64, schema })
}

fn refuse_newer(file: &Path, schema: i64) -> Result<(), StoreError> {
    if !MIGRATIONS.version_exists(schema) {
        return Err(StoreError::Unusable {
            reason: format!(
                "{} was written by a newer Orchestra: its schema is at version {schema}",
                file.display()
            ),
            hint: "restore it with that version",
        });
    }
    Ok(())
}

/// The version of its tables; an error where they are not ours.
async fn schema(file: &Path, link: &mut SqliteConnection) -> Result<i64, StoreError> {
    let asked = sqlx::query_scalar(
        "SELECT max(version) FROM _sqlx_migrations
         WHERE EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'job')",
    );
    let version: Option<i64> = asked.fetch_one(link).await.map_err(|error| {
        let code = error.as_database_error().and_then(|error| Some(error.code()?.into_owned()));
        match code.as_deref() {
            // https://www.sqlite.org/rescode.html: there is no such table; it is no database.
            Some("1" | "26") => no_backup(file),
            _ => damaged(file, error),
        }
    })?;
    version.ok_or_else(|| no_backup(file))
}

fn cannot(file: &Path, error: impl fmt::Display) -> StoreError {
    StoreError::Unusable {
        reason: format!("{} cannot be written: {error}", file.display()),
        hint: "its folder must exist, be writable and have room",
    }
}

fn cannot_read(file: &Path, error: &io::Error) -> StoreError {
    StoreError::Unusable {
        reason: format!("{} cannot be read: {error}", file.display()),
        hint: "name a file that `orchestra admin backup` has written",
    }
}

fn damaged(file: &Path, finding: impl fmt::Display) -> StoreError {
    StoreError::Unusable {
        reason: format!("{} is damaged: {finding}", file.display()),
        hint: "use another backup",
    }
}

fn no_backup(file: &Path) -> StoreError {
    StoreError::Unusable {
        reason: format!("{} is no database of Orchestra's", file.display()),
        hint: "name a file that `orchestra admin backup` has written",
    }
}

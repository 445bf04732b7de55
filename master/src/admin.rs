//! What is done with a master's database from outside: by its operator, beside the master or without it.

use std::path::Path;

use orchestra_contracts::Span;

use crate::{
    clock::{Clock as _, SystemClock},
    error::MasterError,
    store::{self, Backup, Moved, Restored, SettleTerms, Settled},
};

/// Copies the database into a new file, while its master runs or without it. See [`store::backup`].
///
/// # Errors
/// [`MasterError::Admin`].
pub async fn backup(url: &str, file: &Path) -> Result<Backup, MasterError> {
    store::backup(url, file).await.map_err(MasterError::Admin)
}

/// Puts a backup in the place of the database, without its master. `lease` is the one that the
/// master gave until now. See [`store::restore`].
///
/// # Errors
/// [`MasterError::Admin`].
pub async fn restore(url: &str, file: &Path, lease: Span) -> Result<Restored, MasterError> {
    let terms = SettleTerms { now: SystemClock.now(), lease };
    store::restore(url, file, terms).await.map_err(MasterError::Admin)
}

/// Does the rest where PostgreSQL's own means have restored a database. See [`store::settle`].
///
/// # Errors
/// [`MasterError::Admin`].
pub async fn settle(url: &str, lease: Span) -> Result<Settled, MasterError> {
    let terms = SettleTerms { now: SystemClock.now(), lease };
    store::settle(url, terms).await.map_err(MasterError::Admin)
}

/// Moves an installation from SQLite to PostgreSQL, without its master. See [`store::transfer`].
///
/// # Errors
/// [`MasterError::Admin`].
pub async fn migrate(from: &str, to: &str) -> Result<Moved, MasterError> {
    store::transfer(from, to).await.map_err(MasterError::Admin)
}

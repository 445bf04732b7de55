//! Administration of a master's database by its operator, with or without a running master.

use std::path::Path;

use orchestra_contracts::Span;

use crate::{
    clock::{Clock as _, SystemClock},
    error::MasterError,
    store::{self, Backup, Moved, Restored, SettleTerms, Settled},
};

/// Copies the database into a new file. The master may be running. See [`store::backup`].
///
/// # Errors
/// [`MasterError::Admin`].
pub async fn backup(url: &str, file: &Path) -> Result<Backup, MasterError> {
    store::backup(url, file).await.map_err(MasterError::Admin)
}

/// Replaces the database with a backup. No master may be running. `lease` is the lease time that
/// the master has used until now. See [`store::restore`].
///
/// # Errors
/// [`MasterError::Admin`].
pub async fn restore(url: &str, file: &Path, lease: Span) -> Result<Restored, MasterError> {
    let terms = SettleTerms { now: SystemClock.now(), lease };
    store::restore(url, file, terms).await.map_err(MasterError::Admin)
}

/// Finishes a restore that was made with PostgreSQL's own tools. See [`store::settle`].
///
/// # Errors
/// [`MasterError::Admin`].
pub async fn settle(url: &str, lease: Span) -> Result<Settled, MasterError> {
    let terms = SettleTerms { now: SystemClock.now(), lease };
    store::settle(url, terms).await.map_err(MasterError::Admin)
}

/// Moves an installation from SQLite to PostgreSQL. No master may be running. See
/// [`store::transfer`].
///
/// # Errors
/// [`MasterError::Admin`].
pub async fn migrate(from: &str, to: &str) -> Result<Moved, MasterError> {
    store::transfer(from, to).await.map_err(MasterError::Admin)
}

//! What PostgreSQL's errors mean to operators.

use crate::store::{StoreError, error::DEFECT};

/// It stood in the way of another transaction: the same again may pass.
pub(in crate::store) const CONFLICT: &str = "another master is writing the same; try again";
/// The server is away, or the way to it.
pub(in crate::store) const AWAY: &str = "see that the database server runs and can be reached";

const ACCESS: &str = "check user, password and database in ORCHESTRA_DATABASE_URL";
const PRIVILEGE: &str = "the user must own its tables, or be allowed to write them";

/// Converts an error of PostgreSQL.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(in crate::store) fn about(error: sqlx::Error) -> StoreError {
    let unavailable = |hint| StoreError::Unavailable { reason: reason(&error), hint };
    match &error {
        sqlx::Error::PoolTimedOut => StoreError::Unavailable {
            reason: "no connection to it could be had in time".to_owned(),
            hint: AWAY,
        },
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            unavailable("the master is shutting down; try again when it is back")
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => unavailable(AWAY),
        sqlx::Error::Database(_) => match sqlstate(&error).as_str() {
            // Serialization, deadlock, a lock that was not given in time.
            "40001" | "40P01" | "55P03" => unavailable(CONFLICT),
            // Shut down, crashed, starting, taken from us; no place for another connection.
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "53300" => unavailable(AWAY),
            state if state.starts_with("08") => unavailable(AWAY),
            "53100" => StoreError::NoRoom { reason: reason(&error) },
            "25006" => unavailable("it only follows another server: give the address of that one"),
            "57014" => unavailable("it took too long; look at what else the server does"),
            "42501" => unavailable(PRIVILEGE),
            // At the start that is the end; later somebody may put it right.
            state if state.starts_with("28") || state == "3D000" => unavailable(ACCESS),
            state if state.starts_with("XX") => unavailable("look at the server's log and disk"),
            _ => unavailable(DEFECT),
        },
        _ => unavailable(DEFECT),
    }
}

/// The database's own words, without sqlx's around them.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        error => error.to_string(),
    }
}

fn sqlstate(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(|error| Some(error.code()?.into_owned()));
    code.unwrap_or_default()
}

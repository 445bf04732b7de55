//! Opens the store that a database URL names.

use std::{path::Path, sync::Arc};

use orchestra_contracts::Size;

use super::{LogCodec, PostgresStore, SqliteStore, Store, StoreError};

/// Opens the database that `url` names, and creates it where it does not exist.
///
/// `sqlite:///var/lib/orchestra.db` is an absolute path, `sqlite:data/orchestra.db`
/// one relative to the working directory, `postgres://user@host/database` a database of a
/// PostgreSQL server.
///
/// # Errors
/// [`StoreError::Unusable`] says what is wrong with the URL or the file.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    open_with(url, Size(0), LogCodec::default()).await
}

/// Opens a store that accepts no new work while the disk of its file has less than `min_free`, and compresses
/// logs with `codec`. With a `min_free` of 0 it accepts work as long as there is any space.
pub async fn open_with(
    url: &str,
    min_free: Size,
    codec: LogCodec,
) -> Result<Arc<dyn Store>, StoreError> {
    match Kind::of(url)? {
        Kind::Sqlite(path) => Ok(Arc::new(SqliteStore::open_with(path, min_free, codec).await?)),
        Kind::Postgres => Ok(Arc::new(PostgresStore::open_with(url, codec).await?)),
    }
}

/// Which database a URL names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    /// The file at this path.
    Sqlite(&'a Path),
    Postgres,
}

impl<'a> Kind<'a> {
    pub(super) fn of(url: &'a str) -> Result<Self, StoreError> {
        match url.split_once(':') {
            Some(("sqlite", rest)) => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() || path.starts_with(':') || path.contains('?') {
                    return Err(StoreError::Unusable {
                        reason: format!("{url:?} does not name a file"),
                        hint: "write sqlite:///absolute/path.db or sqlite:relative/path.db, nothing more",
                    });
                }
                Ok(Self::Sqlite(Path::new(path)))
            }
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres),
            // The rest of a URL may hold a password: it is not repeated.
            scheme => Err(StoreError::Unusable {
                reason: match scheme {
                    Some((scheme, _)) => format!("there is no database of the kind {scheme:?}"),
                    None => format!("{url:?} is not a database URL"),
                },
                hint: "the kinds are: sqlite, as in sqlite:///absolute/path.db, and postgres, as in \
                       postgres://user@host/database",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_names_a_kind_and_a_file() {
        for url in [
            "",
            "jobs.db",
            "mysql://user:secret@host/db",
            "postgres://user:secret@127.0.0.1:1/db",
            "postgres://user:secret@host:port/db",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite:jobs.db?mode=ro",
        ] {
            let error = open(url).await.expect_err(url);
            assert!(matches!(error, StoreError::Unusable { .. }), "{url}: {error:?}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}

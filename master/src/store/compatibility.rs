//! Whether an older program can work with the schema of a newer one.
//!
//! A migration in a file called `NNNN_additive_...` changes nothing that earlier programs read or write.
//! An older program starts if all migrations that it does not know are additive. So several masters
//! can be upgraded, and downgraded, one by one.

use sqlx::migrate::Migrator;

/// The prefix in the description of an additive migration.
const ADDITIVE: &str = "additive ";

/// All migrations that were applied to the database.
pub(super) const APPLIED: &str = "SELECT version, description FROM _sqlx_migrations";

/// Whether a program with these migrations can work with a database to which those were applied.
pub(super) fn is_compatible(ours: &Migrator, applied: &[(i64, String)]) -> bool {
    let is_ours = |version: i64| ours.iter().any(|one| one.version == version);
    let has_ours = ours.iter().all(|one| applied.iter().any(|(other, _)| *other == one.version));
    let mut unknown = applied.iter().filter(|(version, _)| !is_ours(*version));
    has_ours && unknown.all(|(_, description)| description.starts_with(ADDITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::MIGRATIONS;

    #[test]
    fn what_was_only_added_is_no_hindrance() {
        let known: Vec<(i64, String)> =
            MIGRATIONS.iter().map(|one| (one.version, one.description.to_string())).collect();
        let with = |more: &[(i64, &str)]| {
            let more = more.iter().map(|(version, words)| (*version, (*words).to_owned()));
            known.iter().cloned().chain(more).collect::<Vec<_>>()
        };
        for (more, compatible) in [
            (&[][..], true),
            (&[(9998, "additive notes"), (9999, "additive more notes")], true),
            (&[(9998, "additive notes"), (9999, "notes")], false),
            (&[(9999, "additively")], false),
        ] {
            assert_eq!(is_compatible(&MIGRATIONS, &with(more)), compatible, "{more:?}");
        }
        // Half of a migration is none.
        assert!(!is_compatible(&MIGRATIONS, &with(&[(9999, "additive notes")])[1..]));
    }
}

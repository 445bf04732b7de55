//! What an older program may do with the schema of a newer one.
//!
//! A migration whose file is called `NNNN_additive_...` leaves all that the programs before it read and
//! write as it was. Where nothing else is unknown, an older program starts: so masters of two versions
//! can be upgraded, and taken back, one by one.

use sqlx::migrate::Migrator;

/// How the description of such a migration begins.
const ADDITIVE: &str = "additive ";

/// Every migration that the database has been through.
pub(super) const APPLIED: &str = "SELECT version, description FROM _sqlx_migrations";

/// Whether a program with these migrations can work with a database that has been through those.
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

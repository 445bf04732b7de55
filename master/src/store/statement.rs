//! Statements, each written once and rendered for both databases when it is compiled.
//!
//! A statement takes all its rows from one JSON parameter, because the statement costs time, not
//! the row. SQLite reads it with `jsonb_each` and not `json_each`, which would write each row out
//! as text again for every column that is read from it; PostgreSQL reads it with
//! `json_to_recordset`.
//!
//! In the pieces of a [`statement!`] may stand, beside text:
//! `rows`, the rows of `$1` as `r`, with the columns that the statement begins with;
//! `{ids "$1"}`, a list of numbers as `r` with the column `id`; `{names "$1"}`, one of texts with `name`;
//! `["SQLite's" | "PostgreSQL's"]`, where their words differ;
//! `spec`, the JSON of `job AS j`: PostgreSQL's own cannot say NUL, which a job's input may have in it,
//! and gets it without;
//! `columns` and `newest` (in brackets for SQLite alone), what a [`JobRow`](super::rows::JobRow) is made of: the columns of
//! `job AS j` with those of its newest attempt, and the join that brings that in.

/// One statement, in the SQL of each database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statement {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

impl Statement {
    /// A statement that is the same for both.
    pub(super) const fn plain(text: &'static str) -> Self {
        Self { sqlite: text, postgres: text }
    }
}

macro_rules! statement {
    ($columns:tt $($piece:tt)+) => {
        $crate::store::statement::Statement {
            sqlite: concat!($($crate::store::statement::piece!(sqlite $columns $piece)),+),
            postgres: concat!($($crate::store::statement::piece!(postgres $columns $piece)),+),
        }
    };
}

macro_rules! piece {
    (sqlite ($first:ident $kind:ident $(, $column:ident $more:ident)*) rows) => {
        concat!(
            "(SELECT e.value->>'", stringify!($first), "' AS ", stringify!($first),
            $(", e.value->>'", stringify!($column), "' AS ", stringify!($column),)*
            " FROM jsonb_each($1) AS e) AS r"
        )
    };
    (postgres ($first:ident $kind:ident $(, $column:ident $more:ident)*) rows) => {
        concat!(
            "json_to_recordset($1::json) AS r (", stringify!($first), " ", stringify!($kind),
            $(", ", stringify!($column), " ", stringify!($more),)*
            ")"
        )
    };
    (sqlite $columns:tt {ids $place:literal}) => {
        concat!("(SELECT e.value AS id FROM jsonb_each(", $place, ") AS e) AS r")
    };
    (postgres $columns:tt {ids $place:literal}) => {
        concat!("(SELECT e.id::bigint AS id FROM json_array_elements_text(", $place, "::json) AS e (id)) AS r")
    };
    (sqlite $columns:tt {names $place:literal}) => {
        concat!("(SELECT e.value AS name FROM json_each(", $place, ") AS e) AS r")
    };
    (postgres $columns:tt {names $place:literal}) => {
        concat!("json_array_elements_text(", $place, "::json) AS r (name)")
    };
    (sqlite $columns:tt [$text:literal | $other:literal]) => { $text };
    (postgres $columns:tt [$other:literal | $text:literal]) => { $text };
    ($database:ident $columns:tt columns) => {
        "j.id, j.spec, j.status, j.created_at, j.not_before, j.attempts, j.retries, j.infra_retries,
         j.lost, j.worker, j.token, j.expires_at, j.stop, j.outcome, j.finished_at, j.waits_for,
         j.array_id, j.array_index, a.claim_request, a.claimed_at, a.started_at, a.usage, a.tail,
         coalesce(a.log_offset, 0) AS log_offset, coalesce(a.log_output, 0) AS log_output,
         coalesce(a.log_gap, 0) AS log_gap, coalesce(a.log_crc32, 0) AS log_crc32"
    };
    (sqlite $columns:tt [columns]) => { concat!(", ", $crate::store::statement::piece!(sqlite () columns)) };
    (sqlite $columns:tt [newest]) => { $crate::store::statement::piece!(sqlite () newest) };
    (postgres $columns:tt [$words:ident]) => { "" };
    ($database:ident $columns:tt newest) => {
        " LEFT JOIN attempt AS a ON a.job_id = j.id AND a.number = j.attempts "
    };
    (sqlite $columns:tt spec) => { "j.spec" };
    (postgres $columns:tt spec) => {
        r"(CASE WHEN strpos(j.spec, '\u0000') = 0 THEN j.spec
                ELSE regexp_replace(j.spec, '(?<!\\)((?:\\\\)*)\\u0000', '\1', 'g') END)::json"
    };
    ($database:ident $columns:tt $text:literal) => { $text };
}

pub(super) use piece;
pub(super) use statement;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_rendered_for_both() {
        let one: Statement =
            statement!((id bigint, name text) "SELECT " ["max" | "greatest"] "(r.id) FROM " rows);
        assert_eq!(
            one.sqlite,
            "SELECT max(r.id) FROM (SELECT e.value->>'id' AS id, e.value->>'name' AS name \
             FROM jsonb_each($1) AS e) AS r"
        );
        assert_eq!(
            one.postgres,
            "SELECT greatest(r.id) FROM json_to_recordset($1::json) AS r (id bigint, name text)"
        );
    }
}

//! Lists jobs: any filter in one statement, one page at a time.

use orchestra_contracts::{JobId, JobStatus, limits};

use crate::store::{
    JobFilter, ListOrder,
    connection::Value,
    statement::{Statement, statement},
};

/// The caller adds conditions, order and limit.
const JOBS: Statement = statement!(() "SELECT " columns " FROM job AS j" newest "WHERE true");

/// SQLite's planner would use the index by status, and sort all pending jobs for each page.
const WAITING: Statement = statement!(()
    "SELECT " columns " FROM job AS j" [" INDEXED BY job_pending" | ""] newest "WHERE true");

const SPEC: Statement = statement!(() spec);

/// The statement for one page, and its values.
pub(in crate::store) struct Query {
    pub(in crate::store) text: String,
    pub(in crate::store) values: Vec<Value>,
    is_sqlite: bool,
}

impl Query {
    /// The query for this filter.
    pub(in crate::store) fn of(filter: &JobFilter, is_sqlite: bool) -> Self {
        let waiting =
            filter.order == ListOrder::Claiming && filter.statuses == [JobStatus::Pending];
        let begin = if waiting { WAITING } else { JOBS };
        let text = if is_sqlite { begin.sqlite } else { begin.postgres };
        let mut query = Self { text: text.to_owned(), values: Vec::new(), is_sqlite };
        query.add_statuses(filter);
        if let Some(queue) = &filter.queue {
            query.add(" AND j.queue = ").bind(queue);
        }
        if let Some(worker) = &filter.worker {
            query.add(" AND j.worker = ").bind(worker.as_str());
        }
        for (key, value) in &filter.labels {
            query.add_label(key, value);
        }
        if let Some(array) = filter.array {
            query.add_array(array);
        }
        if let Some(text) = &filter.text {
            query.add_text(text);
        }
        if let Some(after) = filter.after {
            query.add_after(filter.order, after);
        }
        query.add(match filter.order {
            ListOrder::Oldest => " ORDER BY j.id LIMIT ",
            ListOrder::Newest => " ORDER BY j.id DESC LIMIT ",
            ListOrder::Claiming => " ORDER BY j.priority DESC, j.id LIMIT ",
        });
        query.bind(i64::from(filter.limit));
        query
    }

    fn add(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// A parameter, and its value.
    fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        let place = format!("${}", self.values.len());
        self.add(&place)
    }

    /// Statuses are literals, not parameters: only then can the planner use an index of pending
    /// jobs.
    fn add_statuses(&mut self, filter: &JobFilter) {
        let words: Vec<String> = filter.statuses.iter().map(|word| format!("'{word}'")).collect();
        match words.as_slice() {
            [] => {}
            [word] => {
                self.add(" AND j.status = ").add(word);
            }
            words => {
                self.add(" AND j.status IN (").add(&words.join(", ")).add(")");
            }
        }
    }

    fn add_label(&mut self, key: &str, value: &str) {
        if self.is_sqlite {
            self.add(" AND EXISTS (SELECT 1 FROM json_each(j.spec, '$.labels') WHERE key = ");
            self.bind(key).add(" AND value = ").bind(value).add(")");
        } else {
            self.add(" AND ")
                .add(SPEC.postgres)
                .add("->'labels'->>")
                .bind(key)
                .add(" = ")
                .bind(value);
        }
    }

    /// An array is stored at once, so its ids follow each other and few rows are looked at.
    fn add_array(&mut self, array: JobId) {
        let beyond = array.0.saturating_add(limits::JOBS as i64);
        self.add(" AND j.id >= ").bind(array.0).add(" AND j.id < ").bind(beyond);
        self.add(" AND j.array_id = ").bind(array.0);
    }

    /// Ignores the case of ASCII letters.
    fn add_text(&mut self, text: &str) {
        let mut pattern = String::from("%");
        for c in text.chars() {
            if matches!(c, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('%');
        let (spec, like) = if self.is_sqlite {
            (SPEC.sqlite, " LIKE ")
        } else {
            (SPEC.postgres, " COLLATE \"C\" ILIKE ")
        };
        self.add(" AND ((")
            .add(spec)
            .add("->>'command')")
            .add(like)
            .bind(&pattern)
            .add(r" ESCAPE '\'");
        self.add(" OR (").add(spec).add("->>'name')").add(like).bind(&pattern).add(r" ESCAPE '\')");
    }

    /// A page continues after the last job of the previous one, so changes between them neither
    /// repeat nor skip a job.
    fn add_after(&mut self, order: ListOrder, after: JobId) {
        match order {
            ListOrder::Oldest => self.add(" AND j.id > ").bind(after.0),
            ListOrder::Newest => self.add(" AND j.id < ").bind(after.0),
            ListOrder::Claiming => self
                .add(" AND (-j.priority, j.id) > (SELECT -priority, id FROM job WHERE id = ")
                .bind(after.0)
                .add(")"),
        };
    }
}

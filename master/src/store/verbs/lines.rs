//! The lines in which jobs wait: one for each queue and each demand in it. Who cannot take
//! what one asks for passes by the whole line, however long it is.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, VecDeque},
};

use jiff::Timestamp;
use orchestra_contracts::{Demand, JobId};
use sqlx::{FromRow, Row as _, postgres::PgRow};

use super::queues::Gates;
use crate::store::{
    Claim, StoreError,
    connection::{Connection, values},
    rows::{JobRow, to_json},
    sqlite::link::FromSqlite,
    statement::{Statement, statement},
};

/// The first $3 claimable jobs of each line of these queues. It finds the lines by one look
/// each, and reads index entries of pending jobs alone; SQLite whole jobs as well, of the lines that
/// ask for nothing in particular, which everybody takes.
pub(in crate::store) const LINES: Statement = statement!(()
    "WITH RECURSIVE line (queue, demand) AS (
         SELECT r.name, (SELECT c.demand FROM job AS c
                         WHERE c.status = 'Pending' AND c.waits_for = 'worker' AND c.queue = r.name
                         ORDER BY c.demand LIMIT 1)
         FROM " {names "$1"} "
         UNION ALL
         SELECT l.queue, (SELECT c.demand FROM job AS c
                          WHERE c.status = 'Pending' AND c.waits_for = 'worker'
                            AND c.queue = l.queue AND c.demand > l.demand
                          ORDER BY c.demand LIMIT 1)
         FROM line AS l WHERE l.demand IS NOT NULL
     )
     SELECT l.queue AS line, l.demand, "
        ["f.value->>0 AS priority, f.value->>1 AS waiting" | "f.priority, f.id AS waiting"] [columns]
    " FROM line AS l CROSS JOIN "
        ["json_each((SELECT json_group_array(json_array(w.priority, w.id)) FROM (" | "LATERAL ("] "
         SELECT c.priority, c.id FROM job AS c
         WHERE c.status = 'Pending' AND c.waits_for = 'worker'
           AND c.queue = l.queue AND c.demand = l.demand
           AND (c.not_before IS NULL OR c.not_before <= $2)
         ORDER BY c.priority DESC, c.id LIMIT $3" [") AS w)" | ""] ") AS f "
        ["LEFT JOIN job AS j ON l.demand = '' AND j.id = f.value->>1" | ""] [newest]
    " WHERE l.demand IS NOT NULL
     ORDER BY l.queue, l.demand, " ["f.key" | "f.priority DESC, f.id"]);

/// Lets those into their lines whose time has come. Until then no claim passes by them, however
/// many there are. (A clock that is put back may find some in line: [`LINES`] looks again.)
pub(in crate::store) const COME_DUE: Statement = statement!(()
    "UPDATE job " ["INDEXED BY job_due" | ""] " SET waits_for = 'worker' WHERE "
    ["status = 'Pending' AND waits_for = 'time' AND not_before <= $1"
     | "id IN (SELECT c.id FROM job AS c
               WHERE c.status = 'Pending' AND c.waits_for = 'time' AND c.not_before <= $1
               ORDER BY c.id FOR UPDATE SKIP LOCKED)"]);

/// One job that waits.
struct Waiting {
    line: String,
    demand: String,
    place: Place,
    job: Option<JobRow>,
}

impl FromSqlite for Waiting {
    fn from_sqlite(row: &rusqlite::Row<'_>) -> Result<Self, StoreError> {
        let demand: String = row.get("demand")?;
        let job = if demand.is_empty() { Some(JobRow::from_sqlite(row)?) } else { None };
        let place = (Reverse(row.get("priority")?), JobId(row.get("waiting")?));
        Ok(Self { line: row.get("line")?, demand, place, job })
    }
}

/// Rows are read when the jobs are locked: until then another master may change them.
impl FromRow<'_, PgRow> for Waiting {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let place = (Reverse(row.try_get("priority")?), JobId(row.try_get("waiting")?));
        let (line, demand) = (row.try_get("line")?, row.try_get("demand")?);
        Ok(Self { line, demand, place, job: None })
    }
}

/// The heads of the lines.
pub(in crate::store) struct Lines {
    all: Vec<Line>,
    gates: Gates,
}

struct Line {
    queue: String,
    text: String,
    demand: Demand,
    waiting: VecDeque<Place>,
}

/// What goes first is less.
type Place = (Reverse<i64>, JobId);

impl Lines {
    /// With enough jobs in each for all of the claims, and the rows that were read of them;
    /// without those that are taken.
    pub(in crate::store) async fn load(
        connection: &mut Connection,
        claims: &[&Claim],
        now: Timestamp,
        taken: &BTreeSet<JobId>,
    ) -> Result<(Self, HashMap<JobId, JobRow>), StoreError> {
        let gates = Gates::load(connection, claims).await?;
        let (mut lines, mut read) = (Self { all: Vec::new(), gates }, HashMap::new());
        let admitted = claims.iter().filter(|claim| lines.gates.admits(claim));
        let wanted: usize = admitted.clone().map(|claim| claim.tokens.len()).sum();
        let queues = admitted.flat_map(|claim| &claim.queues).map(String::as_str);
        let mut queues: Vec<&str> = queues.filter(|queue| lines.gates.is_open(queue)).collect();
        // Of a thousand claims most name the same.
        queues.dedup();
        queues.sort_unstable();
        queues.dedup();
        if queues.is_empty() || wanted == 0 {
            return Ok((lines, read));
        }
        connection.change(COME_DUE, values![now.as_millisecond()]).await?;
        let (now, limit) = (now.as_millisecond(), (wanted + taken.len()) as i64);
        let all: Vec<Waiting> =
            connection.all(LINES, values![to_json(&queues), now, limit]).await?;
        for Waiting { line, demand, place, job } in all {
            if taken.contains(&place.1) {
                continue;
            }
            lines.line(line, demand).waiting.push_back(place);
            read.extend(job.map(|job| (place.1, job)));
        }
        Ok((lines, read))
    }

    /// The line to which the next row belongs: the last one, or a new one.
    fn line(&mut self, queue: String, text: String) -> &mut Line {
        let is_last = self.all.last().is_some_and(|last| last.queue == queue && last.text == text);
        if !is_last {
            // What this version does not understand is left to the worker.
            let demand = text.parse().unwrap_or_default();
            self.all.push(Line { queue, text, demand, waiting: VecDeque::new() });
        }
        self.all.last_mut().expect("one was added, if there was none")
    }

    /// Whether nothing is left for anybody.
    pub(in crate::store) fn are_empty(&self) -> bool {
        self.all.iter().all(|line| line.waiting.is_empty())
    }

    /// Takes out what the claim gets, in claiming order.
    pub(in crate::store) fn share(&mut self, claim: &Claim, now: Timestamp) -> Vec<JobId> {
        let Self { all, gates } = self;
        if !gates.admits(claim) {
            return Vec::new();
        }
        let is_its = |line: &&mut Line| {
            claim.queues.contains(&line.queue) && claim.takes(&line.queue, &line.demand, now)
        };
        let mut its: Vec<&mut Line> = all.iter_mut().filter(is_its).collect();
        let head = |(number, line): (usize, &&mut Line)| {
            line.waiting.front().map(|&place| Reverse((place, number)))
        };
        let mut heads: BinaryHeap<_> = its.iter().enumerate().filter_map(head).collect();
        let mut share = Vec::new();
        while share.len() < claim.tokens.len()
            && let Some(Reverse(((_, id), number))) = heads.pop()
        {
            // A queue that is full is passed by with all that waits in this line.
            if !gates.enter(&its[number].queue) {
                continue;
            }
            share.push(id);
            its[number].waiting.pop_front();
            heads.extend(head((number, &its[number])));
        }
        share
    }
}

//! A thousand workers and a hundred thousand jobs, in one run: one master on SQLite, and one and
//! two on PostgreSQL. The workers are scripted: they speak the whole protocol over HTTP to real
//! master processes, but run nothing.

pub(crate) mod churn;
mod crowd;
mod load;
mod stage;
mod tally;
mod worker;

use std::time::Duration;

use crate::{
    args::{Row, Size},
    cpu::{self, Cpu},
    error::BenchError,
    report::{Measured, short},
    rows::Bench,
    statistics::Samples,
};

use self::{
    crowd::Crowd,
    stage::{Server, Stage},
    tally::Tally,
};

/// Percentage of jobs that are submitted one by one, at a pace that leaves the master idle time.
const STEADY: usize = 5;
/// Jobs a second at that pace.
const PACE: u32 = 100;
/// Goal for two masters on one server, as a share of one master's throughput: here they share its
/// cores.
const TWICE: f64 = 0.8;
/// Goal for the worker with the fewest jobs, as a share of the mean.
const FEWEST: f64 = 0.5;

/// The masters and the database of one case.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    masters: usize,
    /// `None` for SQLite.
    postgres: Option<Server>,
}

const CASES: [Case; 3] = [
    Case { name: "SQLite, one master", masters: 1, postgres: None },
    Case { name: "PostgreSQL, one master", masters: 1, postgres: Some(Server::Durable) },
    Case { name: "PostgreSQL, two masters", masters: 2, postgres: Some(Server::Durable) },
];

pub(super) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let size = bench.size.unwrap_or(bench.pick(
        Size { workers: 1000, slots: 1, jobs: 100_000 },
        Size { workers: 100, slots: 1, jobs: 3000 },
    ));
    let mut row = Measured::new(Row::Scale, "many workers, many jobs, more than one master");
    let mut paces = Vec::new();
    for case in CASES {
        match one(bench, case, size, &mut row).await {
            Ok(pace) => paces.push((case, pace)),
            Err(error @ BenchError::Missing { .. }) => row.note(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    compare(&mut row, &paces);
    row.note(format!(
        "{} workers of {} slots, {} jobs in four queues. A job is a submit (25 in a request), a claim, a \
         start, one piece of log and an end: 4.04 requests; each worker has a heartbeat every 15 s and an open \
         question for orders beside it. Jobs take {:?}. Both databases sync each commit; workers, masters and \
         the database share this machine's cores.",
        size.workers,
        size.slots,
        size.jobs,
        worker::WORK,
    ));
    Ok(row)
}

/// Throughput of one case in jobs per second; adds its lines to the row.
async fn one(bench: &Bench, case: Case, size: Size, row: &mut Measured) -> Result<f64, BenchError> {
    let stage = Stage::open(bench, case).await?;
    let tally = Tally::new(size.workers);
    let crowd = Crowd::start(&stage.ports, size, &tally).await?;

    let steady = size.jobs * STEADY / 100;
    load::steadily(&stage.ports, steady, PACE, &tally).await?;
    let calm = tally.take();
    let before = (Cpu::now(), stage.cpu());
    let took = load::at_once(&stage.ports, size, size.jobs - steady, &tally).await?;
    let used = Cpu::now().since(&before.0);
    let own = stage.cpu().saturating_sub(before.1);
    let busy = tally.take();
    crowd.end().await?;

    let jobs = busy.ended.len() as f64;
    let per_job = |time: Duration| time.as_secs_f64() * 1e3 / jobs;
    let pace = jobs / took.as_secs_f64();
    let name = case.name;
    row.figure(format!("{name}: as many as go"), "jobs/s", pace);
    for (what, taken) in [("at 100 a second", &calm), ("as many as go", &busy)] {
        let claimed: Samples = std::iter::once(taken.claimed.clone()).collect();
        let ended: Samples = std::iter::once(taken.ended.clone()).collect();
        row.line(format!("{name}, {what}: submit to claim"), "ms", &claimed);
        row.line(format!("{name}, {what}: submit to end"), "ms", &ended);
    }
    row.line(format!("{name}: jobs of one worker"), "jobs", &busy.by_worker());
    let share = busy.fewest();
    row.goal(
        format!("{name}: the worker with the fewest has half of the mean"),
        short(share),
        share >= FEWEST,
    );
    let queues: Vec<String> = busy.by_queue.iter().map(|all| short(tally::p99(all))).collect();
    row.figure(format!("{name}: the longest that a job waited"), "ms", busy.longest());
    row.figure(format!("{name}: processor time of the masters"), "ms a job", per_job(own));
    if case.postgres.is_some() {
        let database = used.of("postgres");
        row.figure(format!("{name}: processor time of the server"), "ms a job", per_job(database));
    }
    for (number, master) in stage.masters.iter().enumerate() {
        let what = format!("{name}: resident memory of master {}", number + 1);
        row.figure(what, "MiB", cpu::resident(master.id()));
    }
    row.note(format!("{name}: p99 from submit to claim by queue, ms: {}", queues.join(", ")));
    if let Some(tables) = stage.tables(jobs).await {
        row.note(format!("{name}, after all jobs:\n\n{tables}"));
    }
    Ok(pace)
}

fn compare(row: &mut Measured, paces: &[(Case, f64)]) {
    let of = |masters: usize, postgres: bool| {
        let is_it = |(case, _): &&(Case, f64)| {
            case.masters == masters && case.postgres.is_some() == postgres
        };
        paces.iter().find(is_it).map(|(_, pace)| *pace)
    };
    let (Some(sqlite), Some(one), Some(two)) = (of(1, false), of(1, true), of(2, true)) else {
        return;
    };
    row.figure("one master on PostgreSQL to one on SQLite", "times", one / sqlite);
    row.figure("two masters on PostgreSQL to one on SQLite", "times", two / sqlite);
    let ratio = two / one;
    row.goal("two masters on one machine: at least 0.8 of one", short(ratio), ratio >= TWICE);
}

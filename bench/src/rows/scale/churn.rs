//! What many jobs leave behind in PostgreSQL's tables: dead rows, disk space, and how well
//! autovacuum keeps up.

use super::{Case, Crowd, Stage, Tally, load, stage::Server};
use crate::{
    args::{Row, Size},
    error::BenchError,
    report::{Measured, short},
    rows::Bench,
    statistics::Samples,
};

const CASE: Case = Case { name: "churn", masters: 1, postgres: Some(Server::Quick) };
/// The tables are examined after each of this many parts.
const PARTS: usize = 10;
/// Goal for the share of dead rows, in percent of the live ones.
const MOST: f64 = 20.0;

pub(crate) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let size = bench.size.unwrap_or(bench.pick(
        Size { workers: 50, slots: 20, jobs: 1_000_000 },
        Size { workers: 20, slots: 20, jobs: 5000 },
    ));
    let mut row = Measured::new(Row::Churn, "what many jobs leave in PostgreSQL's tables");
    let stage = Stage::open(bench, CASE).await?;
    let tally = Tally::new(size.workers);
    let crowd = Crowd::start(&stage.ports, size, &tally).await?;
    let (mut dead, mut paces) = (Vec::new(), Vec::new());
    for part in 1..=PARTS {
        let jobs = size.jobs / PARTS;
        let took = load::at_once(&stage.ports, size, jobs, &tally).await?;
        let _ = tally.take();
        paces.push(jobs as f64 / took.as_secs_f64());
        dead.push(stage.dead("job").await);
        eprintln!(
            "== churn: {} jobs, {:.1} % of the rows of job dead",
            jobs * part,
            dead[part - 1]
        );
    }
    crowd.end().await?;
    let most = dead.iter().copied().fold(0.0, f64::max);
    let (first, last) = (paces[0], paces[PARTS - 1]);
    let all: Samples = dead.into_iter().map(|share| vec![share]).collect();
    row.line("dead among the rows of job, after each tenth", "%", &all);
    row.line("pace, of each tenth", "jobs/s", &paces.into_iter().map(|pace| vec![pace]).collect());
    row.goal("never more than 20 % of job dead", format!("{} %", short(most)), most <= MOST);
    row.goal(
        "the last tenth as quick as the first, within a fifth",
        short(last / first),
        last >= 0.8 * first,
    );
    if let Some(tables) = stage.tables(size.jobs as f64).await {
        row.note(tables);
    }
    row.note(format!(
        "{} jobs by {} workers of {} slots, which tell the starts and the ends of a claim's jobs in one request \
         each; the server does not sync. Neither has a part in this.",
        size.jobs, size.workers, size.slots
    ));
    Ok(row)
}

//! Row 8: the cost of calls with a million and with five million finished jobs, against none.

use std::time::Instant;

use serde_json::Value;

use crate::{
    args::Row,
    error::BenchError,
    link::Link,
    plots::Plot,
    report::{Measured, short},
    rows::{Bench, blocks::millis, seed},
    stack::{Plan, Stack},
    statistics::Samples,
};

const GROWTH: f64 = 1.05;
const PAGE_MS: f64 = 5.0;
const SPEC: &str = r#"{"command":"true"}"#;
const CLAIM: &str = r#""bench""#;

/// Times of each call.
#[derive(Debug, Default)]
struct Calls {
    submit: Samples,
    claim: Samples,
    page: Samples,
    deep: Samples,
    queues: Samples,
}

impl Calls {
    fn all(&self) -> [(&'static str, &Samples); 5] {
        [
            ("submit", &self.submit),
            ("claim", &self.claim),
            ("newest page of 50", &self.page),
            ("a page of 50 in the middle", &self.deep),
            ("counts of queues", &self.queues),
        ]
    }
}

pub(super) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let sizes: &[u64] = bench.pick(&[0, 1_000_000, 5_000_000], &[0, 100_000]);
    let (rounds, calls) = bench.pick((5, 60), (2, 30));
    let mut found: Vec<(u64, Calls)> = Vec::new();
    for size in sizes {
        let mut stack = bench.stack(&Plan::master()).await?;
        let like = seed::complete_one(&stack).await?;
        if *size > 0 {
            stack = seed::copy(stack, like, *size).await?;
        }
        found.push((*size, measure(&stack, rounds, calls, *size).await?));
    }
    let mut row = Measured::new(Row::Growth, "what calls cost with many stored jobs");
    for (size, calls) in &found {
        for (what, samples) in calls.all() {
            row.line(format!("{what}, {size} stored"), "ms", samples);
        }
    }
    let Some(((_, none), more)) = found.split_first() else { return Ok(row) };
    for (size, calls) in more {
        let ratio = calls.claim.ratio_to(&none.claim);
        let goal = format!("a claim with {size} stored: at most 1.05");
        row.goal(goal, ratio.to_string(), ratio.of <= GROWTH);
        let worst = calls.page.percentile(99.0).max(calls.deep.percentile(99.0));
        let goal = format!("any page with {size} stored: at most 5 ms");
        row.goal(goal, format!("{} ms (p99)", short(worst)), worst <= PAGE_MS);
        let ratio = calls.queues.ratio_to(&none.queues);
        let goal = format!("counts with {size} stored: no growth");
        row.goal(goal, ratio.to_string(), ratio.of <= GROWTH);
    }
    let lines = none.all().map(|(what, _)| {
        let at = |calls: &Calls| {
            calls.all().iter().find(|(name, _)| *name == what).map_or(0.0, |(_, it)| it.median())
        };
        let points = found.iter().map(|(size, calls)| ((*size).max(1000) as f64, at(calls)));
        (what.to_owned(), points.collect())
    });
    row.plots.push(Plot::lines(
        "growth",
        "What calls cost as jobs are stored",
        ("stored jobs (none stands at 1000)", "milliseconds, p50"),
        lines.into(),
    ));
    row.note("The jobs are copies of one that was completed through the API.");
    Ok(row)
}

async fn measure(
    stack: &Stack,
    rounds: usize,
    calls: usize,
    size: u64,
) -> Result<Calls, BenchError> {
    let mut link = Link::open(stack.port).await?;
    let mut found = Calls::default();
    let deep = format!("/api/job?limit=50&cursor={}", middle(&mut link, size).await?);
    block(&mut link, calls / 4, &deep).await?;
    for _ in 0..rounds {
        let [submit, claim, page, middle, queues] = block(&mut link, calls, &deep).await?;
        found.submit.add_block(submit);
        found.claim.add_block(claim);
        found.page.add_block(page);
        found.deep.add_block(middle);
        found.queues.add_block(queues);
    }
    Ok(found)
}

/// A cursor in the middle of the list, which is the id of the job there.
async fn middle(link: &mut Link, size: u64) -> Result<String, BenchError> {
    let wanted = (size / 2).max(1);
    let answer = link.get(&format!("/api/job?limit=1&cursor={wanted}")).await?;
    Ok(if answer.status == 200 { wanted.to_string() } else { "1".to_owned() })
}

/// One call of each kind in turn, so that all see the same load of the machine.
async fn block(link: &mut Link, calls: usize, deep: &str) -> Result<[Vec<f64>; 5], BenchError> {
    let mut found: [Vec<f64>; 5] = Default::default();
    for _ in 0..calls {
        let start = Instant::now();
        link.post("/api/job", SPEC).await?.expect(201)?;
        found[0].push(millis(start.elapsed()));
        let start = Instant::now();
        let claimed = link.post("/api/job/claim", CLAIM).await?.expect(200)?;
        found[1].push(millis(start.elapsed()));
        let job: Value = serde_json::from_slice(&claimed)
            .map_err(|error| BenchError::unexpected(error.to_string()))?;
        let id = &job["id"];
        let update =
            format!(r#"{{"id":{id},"status":"Completed","assignedWorker":"bench","exitCode":0}}"#);
        link.post("/api/job/update", &update).await?.expect(200)?;
        for (times, path) in found[2..].iter_mut().zip(["/api/job?limit=50", deep, "/api/queue"]) {
            let start = Instant::now();
            link.get(path).await?.expect(200)?;
            times.push(millis(start.elapsed()));
        }
    }
    Ok(found)
}

//! The benchmark as a test: whether it runs, and whether the ratios of one quick run keep their
//! order. Absolute figures are not judged, because a machine may be slow and busy.

use std::{process::Command, time::Duration};

use orchestra_tests::{engine, program, turn};

/// Both rows together take half a minute on a quiet machine.
const LIMIT: Duration = Duration::from_mins(5);
/// Measured: a warm start takes a fifteenth of `docker run --rm`.
const AT_MOST: f64 = 0.5;

/// The median in the line of this name.
fn median(report: &str, name: &str) -> f64 {
    let line = report.lines().find_map(|line| line.strip_prefix(&format!("| {name}")));
    let cell = line.and_then(|line| line.split('|').nth(1)).unwrap_or_default();
    cell.trim().parse().unwrap_or_else(|_| panic!("no figure of {name} in\n{report}"))
}

#[tokio::test]
async fn a_warm_start_takes_at_most_half_of_a_cold_one() {
    if !engine::is_there().await {
        return;
    }
    let _turn = turn().await;
    program::job_image().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench.args(["--quick", "warm", "cold", "--orchestra"]).arg(program::path());
    bench.arg("--out").arg(folder.path()).arg("--plots").arg(folder.path());
    let ran = program::run(bench, LIMIT).await.expect(0);
    let figure = |name| median(&ran.stdout, name);
    let warm = figure("orchestra, submit to completed, ms");
    let cold = ran.stdout.split("## cold").nth(1).expect("the second row");
    let cold = median(cold, "orchestra, submit to completed, ms");
    let others = figure("docker run --rm");
    assert!(warm <= AT_MOST * cold, "warm {warm} ms, cold {cold} ms");
    assert!(warm <= AT_MOST * others, "warm {warm} ms, docker run --rm {others} ms");
    let drawn = std::fs::read_to_string(folder.path().join("warm.svg")).expect("it was drawn");
    assert!(drawn.contains("<polyline"), "{drawn}");
}

#[tokio::test]
async fn a_crowd_of_scripted_workers_has_its_jobs_shared_out_evenly() {
    if !engine::is_there().await {
        return;
    }
    let _turn = turn().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench.args(["--quick", "scale", "--size", "40x1x800", "--orchestra"]).arg(program::path());
    bench.arg("--out").arg(folder.path()).arg("--plots").arg(folder.path());
    // The program reports lost jobs itself and exits with another code.
    let ran = program::run(bench, LIMIT).await.expect(0);
    let shares: Vec<_> =
        ran.stdout.lines().filter(|line| line.contains("the worker with the fewest")).collect();
    assert!(!shares.is_empty(), "{}", ran.stdout);
    for share in shares {
        assert!(share.ends_with("| met |"), "{share}");
    }
}

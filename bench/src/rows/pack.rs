//! The cost and benefit of compressing stored logs. It compresses a real compiler's log in pieces,
//! with LZ4 as the master does, and with zstd where that is installed. It also times how the master
//! stores and reads a log that compresses, beside one that does not and is stored as it is.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use orchestra_client::LogQuery;
use orchestra_contracts::{
    JobSpec, Workspace,
    frame::{Body, Frame, Stream},
    paths,
    worker::{Claimed, LogHead},
};

use crate::{
    args::Row,
    cpu,
    error::BenchError,
    link::Link,
    report::{Measured, short},
    rows::Bench,
    stack::{Plan, Stack},
    statistics::Samples,
};

/// How much of a log is compressed at once.
const PIECE: usize = 16 << 10;
/// Size of one upload from a busy worker.
const UPLOAD: usize = 4 * PIECE;
/// Template errors and a list of headers: typical content of people's logs.
const COMPILE: &str = r#"
{
    printf '#include <%s>\n' algorithm list map regex string vector
    for type in bool char short int long float double std::string 'std::vector<int>' \
        'std::vector<bool>' 'std::list<int>' 'std::pair<int, int>' 'std::map<int, int>' std::regex; do
        echo "void sort(std::list<$type>& list) { std::sort(list.begin(), list.end()); }"
    done
} > a.cpp
g++ -H -Wall -c a.cpp
true"#;

pub(super) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let (rounds, mebibytes) = bench.pick((9, 32), (3, 8));
    let mut stack = bench.stack(&Plan::worker(1, 0)).await?;
    let log = compiled(&stack).await?;
    // From here on, this program acts as the worker.
    drop(stack.worker.take());
    let mut row = Measured::new(Row::Pack, "stored logs: what packing costs and saves");
    row.figure("a compiler's log", "kB", log.len() as f64 / 1e3);
    let (mut pack, mut unpack) = <(Samples, Samples)>::default();
    let mut times = 0.0;
    for _ in 0..rounds {
        let (shorter, packed, unpacked) = lz4(&log)?;
        times = shorter;
        pack.add_block(vec![packed]);
        unpack.add_block(vec![unpacked]);
    }
    row.figure("LZ4 in pieces of 16 KiB: shorter", "times", times);
    row.line("LZ4, packing", "MB/s", &pack);
    row.line("LZ4, unpacking", "MB/s", &unpack);
    match zstd(bench, &log) {
        Some([times, packing, unpacking]) => {
            row.figure("zstd at level 3, in such pieces: shorter", "times", times);
            row.figure("zstd, packing", "MB/s", packing);
            row.figure("zstd, unpacking", "MB/s", unpacking);
        }
        None => row.note("The program zstd, to compare with, is not installed."),
    }
    let text: Bytes = log.iter().copied().cycle().take(mebibytes << 20).collect();
    let noise = noise(mebibytes << 20);
    let (mut stored, mut read) = <([Samples; 2], [Samples; 2])>::default();
    for round in 0..bench.pick(5, 2) {
        for (index, bytes) in [&text, &noise].into_iter().enumerate() {
            let [storing, reading] = through(&stack, bytes, round).await?;
            stored[index].add_block(vec![storing / mebibytes as f64]);
            read[index].add_block(vec![reading / mebibytes as f64]);
        }
    }
    for (index, what) in ["that gets shorter", "that stands as it came"].into_iter().enumerate() {
        row.line(
            format!("the master, to store a log {what}"),
            "ms of processor a MiB",
            &stored[index],
        );
        row.line(format!("the master, to read it {what}"), "ms of processor a MiB", &read[index]);
    }
    let ratio = stored[0].ratio_to(&stored[1]);
    row.note(format!(
        "Each log of {mebibytes} MiB, {} kB an upload. To store one that gets shorter takes {ratio} of what \
         the other takes, whose packing is tried and left.",
        short(UPLOAD as f64 / 1e3)
    ));
    Ok(row)
}

/// The output of a real compiler.
async fn compiled(stack: &Stack) -> Result<Vec<u8>, BenchError> {
    let spec = JobSpec { workspace: Workspace::Private, ..JobSpec::new(COMPILE) };
    let job = stack.finish(&spec).await?;
    let mut log = std::pin::pin!(stack.client.log_text(job.id, &LogQuery::default()).await?);
    let mut all = Vec::new();
    while let Some(piece) = log.next().await {
        all.extend_from_slice(&piece?);
    }
    if all.len() < PIECE {
        return Err(BenchError::unexpected(format!("a log of {} bytes", all.len())));
    }
    Ok(all)
}

/// The compression ratio, and the speed in both directions.
fn lz4(log: &[u8]) -> Result<(f64, f64, f64), BenchError> {
    const TIMES: usize = 50;
    let begun = Instant::now();
    let mut packed = Vec::new();
    for _ in 0..TIMES {
        packed = log.chunks(PIECE).map(lz4_flex::block::compress).collect();
    }
    let packing = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    for _ in 0..TIMES {
        for (piece, packed) in log.chunks(PIECE).zip(&packed) {
            let unpacked = lz4_flex::block::decompress(packed, piece.len());
            if unpacked.as_deref().ok() != Some(piece) {
                return Err(BenchError::unexpected("what was packed is not what comes back"));
            }
        }
    }
    let unpacking = begun.elapsed().as_secs_f64();
    let speed = |seconds: f64| (TIMES * log.len()) as f64 / 1e6 / seconds;
    let short: usize = packed.iter().map(Vec::len).sum();
    Ok((log.len() as f64 / short as f64, speed(packing), speed(unpacking)))
}

/// The same as measured by the `zstd` program, where it is installed.
fn zstd(bench: &Bench, log: &[u8]) -> Option<[f64; 3]> {
    let file = bench.folder().join("compiler.log");
    std::fs::write(&file, log).ok()?;
    let mut measure = Command::new("zstd");
    measure.args(["-q", "-b3", "-i1", &format!("-B{PIECE}")]).arg(&file).stdin(Stdio::null());
    let output = measure.output().ok().filter(|output| output.status.success())?;
    figures(&String::from_utf8_lossy(&output.stdout))
}

/// Parses a line like `-3  13119 (23.546) 184.71 MB/s  620.8 MB/s  a.log`.
fn figures(text: &str) -> Option<[f64; 3]> {
    let line = text.lines().rfind(|line| line.contains("MB/s"))?;
    let (_, line) = line.split_once('(')?;
    let (shorter, speeds) = line.split_once(')')?;
    let mut speeds =
        speeds.split("MB/s").map(|speed| speed.trim_matches([' ', ',']).parse::<f64>());
    let [packing, unpacking] = [speeds.next()?.ok()?, speeds.next()?.ok()?];
    Some([shorter.trim_start_matches('x').parse().ok()?, packing, unpacking])
}

/// How long the master takes to store this as a job's log, and to serve it; in milliseconds.
async fn through(stack: &Stack, bytes: &Bytes, round: usize) -> Result<[f64; 2], BenchError> {
    let worker = format!("packer-{round}");
    let mut link = Link::open(stack.port).await?;
    let job = stack.client.submit(&JobSpec::new("true")).await?;
    let terms = format!(r#"{{"worker": "{worker}", "slots": 1}}"#);
    let claimed = link.post(paths::CLAIM, &terms).await?.expect(200)?;
    let claimed: Vec<Claimed> = serde_json::from_slice(&claimed).map_err(unreadable)?;
    let held = claimed.into_iter().find(|held| held.job.id == job.id);
    let held = held.ok_or_else(|| BenchError::unexpected("another job was there"))?;
    let path = paths::attempt_log(job.id, held.lease.attempt);
    let used = || cpu::of(stack.master.id());
    let (before, mut offset) = (used(), 0);
    for piece in 0..bytes.len().div_ceil(UPLOAD) {
        let piece = bytes.slice(piece * UPLOAD..bytes.len().min((piece + 1) * UPLOAD));
        let mut frames = BytesMut::new();
        for start in (0..piece.len()).step_by(PIECE) {
            let body = piece.slice(start..piece.len().min(start + PIECE));
            Frame { time: 1, body: Body::Bytes(Stream::Stdout, body) }.encode(&mut frames);
        }
        let path = format!("{path}?offset={offset}&worker={worker}");
        let answer = link.upload(&path, held.lease.token.as_str(), &frames).await?.expect(200)?;
        let head: LogHead = serde_json::from_slice(&answer).map_err(unreadable)?;
        offset = head.offset;
    }
    let stored = used();
    let read = link.get(&paths::log(job.id)).await?.expect(200)?;
    if read != bytes[..] {
        return Err(BenchError::unexpected(format!("{} bytes came back", read.len())));
    }
    let millis = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() * 1e3;
    let spent = [millis(before, stored), millis(stored, used())];
    let _ = link.post(&paths::cancel(job.id), "{}").await?;
    Ok(spent)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn unreadable(error: serde_json::Error) -> BenchError {
    BenchError::unexpected(error.to_string())
}

/// Incompressible bytes.
fn noise(length: usize) -> Bytes {
    let mut state = 1_u64;
    let mut byte = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| byte()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zstd_prints_is_read() {
        for line in [
            "-3        13119 (23.546) 184.71 MB/s  620.8 MB/s  z.log\n",
            " 3#z.log  :  308894 ->  13119 (x23.546),  184.71 MB/s,  620.8 MB/s\n",
        ] {
            let said = format!("bench 1.5.4 : input 308894 bytes, 1 seconds, 16 KB blocks\n{line}");
            assert_eq!(figures(&said), Some([23.546, 184.71, 620.8]));
        }
        assert_eq!(figures("zstd: error 31"), None);
    }
}

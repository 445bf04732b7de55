//! A job's output arrives exactly as it was written.

use std::fs;

use futures::{StreamExt, future::join_all, stream};
use orchestra_contracts::{
    JobSpec,
    frame::{Body, Stream},
};

use rstest::rstest;

use super::lab::{
    Lab,
    Start::{self, Cold, Warm},
    output,
};
use crate::clock;

#[rstest]
#[tokio::test]
async fn output_and_errors_are_told_apart_and_stamped(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let before = clock::wall_micros();
    let seen = lab.run("echo hello; echo oops >&2; printf 'no newline'").await;
    assert_eq!(seen.success(), "hello\nno newline");
    assert_eq!(seen.stderr(), "oops\n");
    assert!(seen.started);
    let times: Vec<_> = seen.frames.iter().map(|frame| frame.time).collect();
    assert!(times.is_sorted() && times[0] >= before && times[0] <= clock::wall_micros());
    let usage = seen.end.usage.unwrap();
    assert!(usage.wall_ms < 30_000, "{usage:?}");
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn scripts_are_taken_as_they_are(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let script =
        "cat <<'EOF' | tr a-z A-Z\nquotes \" ' and $VARS\nEOF\nread -r line; echo \"$line ü\"";
    let spec = JobSpec { stdin: Some("from stdin\n".into()), ..JobSpec::new(script) };
    assert_eq!(lab.run_spec(spec).await.success(), "QUOTES \" ' AND $VARS\nfrom stdin ü\n");
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn a_megabyte_of_any_bytes_arrives_exactly(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    // Pseudo-random bytes, the same each time: every byte value beside every other.
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let bytes: Vec<u8> = (0..1 << 20).map(|_| next()).collect();
    fs::write(lab.files().join("bytes"), &bytes).unwrap();
    let seen = lab.run("cat bytes; cat bytes >&2").await;
    for stream in [Stream::Stdout, Stream::Stderr] {
        let arrived = output(&seen.frames, stream);
        assert!(arrived == bytes, "{} of {} bytes of {stream:?}", arrived.len(), bytes.len());
    }
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn a_long_log_keeps_its_head_and_its_tail(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &["--log-head", "64k", "--log-tail", "1k"]).await else {
        return;
    };
    let seen = lab.run("seq 100000").await;
    let all: Vec<_> = (1..=100_000).map(|n| format!("{n}\n")).collect();
    let all = all.concat();
    let kept = seen.success();
    let gap: u64 =
        seen.frames.iter().map(|frame| if let Body::Gap(n) = frame.body { n } else { 0 }).sum();
    assert_eq!(kept.len() as u64 + gap, all.len() as u64);
    assert!(all.starts_with(&kept[..64 << 10]) && all.ends_with(&kept[kept.len() - (1 << 10)..]));
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn many_at_once_do_not_mix(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let commands: Vec<_> = (0..8).map(|n| format!("echo {n}")).collect();
    let all = join_all(commands.iter().map(|command| lab.run(command))).await;
    for (n, seen) in all.iter().enumerate() {
        assert_eq!(seen.success(), format!("{n}\n"));
    }
    lab.close().await;
}

/// Many of them end before anything could attach to a running container.
#[tokio::test]
async fn two_hundred_short_jobs_have_exact_logs() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let commands: Vec<_> = (0..200).map(|n| format!("echo {n}")).collect();
    let runs = stream::iter(&commands).map(|command| lab.run(command));
    let all: Vec<_> = runs.buffered(8).collect().await;
    for (n, seen) in all.iter().enumerate() {
        assert_eq!(seen.success(), format!("{n}\n"));
    }
    lab.close().await;
}

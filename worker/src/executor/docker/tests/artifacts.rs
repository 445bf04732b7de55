//! The artifacts of a job, read from its container.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    time::Duration,
};

use futures::TryStreamExt;
use orchestra_contracts::{JobSpec, Outcome, Workspace};
use rstest::rstest;

use super::lab::{LEASE, Lab, Seen};
use crate::{control::Stop, executor::artifacts::ReadError};

fn leaving(patterns: &[&str], command: &str) -> JobSpec {
    let artifacts = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    JobSpec { artifacts, ..JobSpec::new(command) }
}

/// Path, content, and whether it is executable.
async fn read_all(seen: &Seen) -> Vec<(String, Vec<u8>, bool)> {
    let artifacts = seen.end.artifacts.as_ref().expect("it says what it leaves");
    let mut all = Vec::new();
    for path in artifacts.paths() {
        let file = artifacts.open(path).await.unwrap();
        let pieces: Vec<_> = file.content.try_collect().await.unwrap();
        let content = pieces.concat();
        assert_eq!(content.len() as u64, file.bytes, "{path}");
        all.push((path.clone(), content, file.executable));
    }
    all
}

fn paths(seen: &Seen) -> Vec<&str> {
    let artifacts = seen.end.artifacts.as_ref().expect("it says what it leaves");
    artifacts.paths().iter().map(String::as_str).collect()
}

#[rstest]
#[tokio::test]
async fn what_fits_a_pattern_is_read_byte_by_byte(
    #[values(Workspace::Shared, Workspace::Private)] workspace: Workspace,
) {
    let Some(lab) = Lab::open(&[]).await else { return };
    let long = format!("out/{}", "long-".repeat(40));
    let command = format!(
        "mkdir -p out deep/er; : > out/empty; printf '\\0\\377\\n' > out/binary
         echo '#!/bin/sh' > out/run; chmod 755 out/run; echo x > 'out/a blank, ä & ?x=%2f'
         echo y > '{long}'; echo z > deep/er/report.xml; echo no > other; touch out/.hidden
         printf x > out/$'a\\nb'; printf x > out/$'\\377'"
    );
    let spec = leaving(&["out/*", "**/report.xml"], &command);
    let seen = lab.run_spec(JobSpec { workspace, ..spec }).await;
    assert_eq!(seen.success(), "");
    let file = |path: &str, content: &[u8], run| (path.to_owned(), content.to_vec(), run);
    let expected = [
        file("deep/er/report.xml", b"z\n", false),
        file("out/.hidden", b"", false),
        file("out/a blank, ä & ?x=%2f", b"x\n", false),
        file("out/binary", b"\0\xff\n", false),
        file("out/empty", b"", false),
        file(&long, b"y\n", false),
        file("out/run", b"#!/bin/sh\n", true),
    ];
    assert_eq!(read_all(&seen).await, expected);
    let left_out = seen.end.artifacts.as_ref().unwrap().left_out();
    assert_eq!(
        left_out,
        ["\"out/a\\nb\" is no path that can be asked for", "\"out/\\xff\" is not UTF-8"]
    );
    drop(seen);
    lab.close().await;
}

#[tokio::test]
async fn nothing_but_files_is_taken_and_none_from_elsewhere() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "theirs").unwrap();
    let command = "mkdir out; cd out; echo ours > plain; ln -s /etc/passwd link; ln -s /etc folder
        ln -s plain inner; mkfifo pipe; ln -s ../../etc/passwd up; ln -s /proc/1/environ proc
        perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => \"socket\", Listen => 1)'
        [ -S socket ] && [ -p pipe ] && echo made";
    let patterns = ["out/*", "out/*/*", "out/folder/passwd", "**/passwd", "**/secret", "theirs/*"];
    symlink(outside.path(), lab.files().join("theirs")).unwrap();
    let seen = lab.run_spec(leaving(&patterns, command)).await;
    assert_eq!(seen.success(), "made\n");
    assert_eq!(read_all(&seen).await, [("out/plain".to_owned(), b"ours\n".to_vec(), false)]);

    // A link put in the file's place later is not read.
    let artifacts = seen.end.artifacts.as_ref().unwrap();
    let place = lab.files().join("out/plain");
    fs::remove_file(&place).unwrap();
    symlink("/etc/passwd", &place).unwrap();
    let unfit = |reason: &str| ReadError::Unfit(reason.to_owned());
    assert_eq!(artifacts.open("out/plain").await.unwrap_err(), unfit("it is not a file any more"));
    fs::remove_file(&place).unwrap();
    assert_eq!(artifacts.open("out/plain").await.unwrap_err(), unfit("it is not there any more"));
    // The engine could read it, but the job could not.
    fs::write(&place, "root's").unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        artifacts.open("out/plain").await.unwrap_err(),
        unfit("the job's user cannot read it")
    );
    drop(seen);

    let seen = lab.run_spec(leaving(&["out/plain"], "true")).await;
    assert_eq!(paths(&seen), [""; 0]);
    let left_out = seen.end.artifacts.as_ref().unwrap().left_out();
    assert_eq!(left_out, ["1 files, for the job's user cannot read them"]);
    drop(seen);
    lab.close().await;
}

#[tokio::test]
async fn twenty_megabytes_arrive_in_small_pieces() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let command = "head -c 20000000 /dev/urandom > large; cksum < large";
    let seen = lab.run_spec(leaving(&["large"], command)).await;
    seen.success();
    let written = fs::read(lab.files().join("large")).unwrap();
    let artifacts = seen.end.artifacts.as_ref().unwrap();
    let mut file = artifacts.open("large").await.unwrap();
    let (mut at, mut largest) = (0, 0);
    while let Some(piece) = file.content.try_next().await.unwrap() {
        assert!(written[at..].starts_with(&piece), "it differs behind byte {at}");
        at += piece.len();
        largest = largest.max(piece.len());
    }
    assert_eq!((at, file.bytes), (20_000_000, 20_000_000));
    assert!(largest <= 1 << 20, "a piece of {largest} bytes");
    drop((file, seen));
    lab.close().await;
}

#[tokio::test]
async fn a_job_leaves_them_however_it_ended() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let command = "mkdir -p out; echo x > out/a; echo up;";
    let fails = leaving(&["out/*"], &format!("{command} exit 3"));
    let seen = lab.run_spec(fails).await;
    assert_eq!((&seen.outcome, paths(&seen)), (&Outcome::Exited { code: 3 }, vec!["out/a"]));

    drop(seen);
    let hangs = || leaving(&["out/*"], &format!("{command} sleep 1000"));
    let timeout = Some(Duration::from_secs(2).into());
    let seen = lab.run_spec(JobSpec { timeout, ..hangs() }).await;
    assert_eq!((&seen.outcome, paths(&seen)), (&Outcome::TimedOut, vec!["out/a"]));

    drop(seen);
    let mut running = lab.start(hangs());
    running.until_output("up\n").await;
    running.control.stop(Stop::Cancel);
    let seen = running.end().await;
    assert_eq!((&seen.outcome, paths(&seen)), (&Outcome::Cancelled, vec!["out/a"]));
    assert_eq!(read_all(&seen).await.len(), 1);
    drop(seen);

    let mut running = lab.start(hangs());
    running.until_output("up\n").await;
    running.control.stop(Stop::Lost);
    let lost = running.end().await;
    assert!(lost.end.artifacts.is_none() && lost.end.changes.is_none());
    lab.close().await;
}

#[tokio::test]
async fn a_job_that_was_taken_back_leaves_them_too() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let command = "echo hi; until [ -e go ]; do sleep 0.02; done; mkdir out; echo x > out/a";
    lab.start_and_be_killed_with(leaving(&["out/*"], command), "hi\n", LEASE);
    let running = lab.take_back(3).await;
    lab.go();
    let seen = running.end().await;
    assert_eq!(seen.outcome, Outcome::Exited { code: 0 });
    assert_eq!(read_all(&seen).await, [("out/a".to_owned(), b"x\n".to_vec(), false)]);
    let changes = seen.end.changes.as_ref().unwrap();
    assert_eq!(changes.created, ["go", "out", "out/a"]);
    drop(seen);
    lab.close().await;
}

#[tokio::test]
async fn more_than_is_kept_is_counted() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let seen =
        lab.run_spec(leaving(&["f*"], "for ((i = 0; i < 1007; i++)); do : > f$i; done")).await;
    assert_eq!(paths(&seen).len(), 1000);
    let left_out = seen.end.artifacts.as_ref().unwrap().left_out();
    assert_eq!(left_out, ["7 more files, for they are too many"]);
    let changes = seen.end.changes.as_ref().unwrap();
    assert_eq!((changes.created.len(), changes.more), (1000, 7));
    drop(seen);
    lab.close().await;
}

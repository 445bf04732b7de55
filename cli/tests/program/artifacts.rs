//! Files that jobs leave: listed, fetched to where they belong and nowhere else.

use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt as _, path::Path};

use orchestra_contracts::{
    JobFile,
    files::{Artifact, Changes},
    paths,
    worker::{Claimed, JobUpdate},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    jobs::{Master, ended},
    support::{sentence, text},
};

/// With their checksums, which the test has no library for.
const HELLO: (&str, &[u8], &str) =
    ("bin/hello", b"hello\n", "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
const ODD: (&str, &[u8], &str) =
    ("a b/\u{e4}%2f", b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
const EMPTY: (&str, &[u8], &str) =
    ("empty", b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

fn escaped(path: &str) -> String {
    path.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "%{byte:02x}").unwrap();
        text
    })
}

impl Master {
    /// Runs the next job, which leaves these files.
    async fn leave(&self, files: &[(&str, &[u8], &str)], code: i32) {
        let Claimed { job, lease } = self.claim().await;
        let mut artifacts = Vec::new();
        for &(path, content, sha256) in files {
            let address = format!(
                "{}?path={}&offset=0&worker=w",
                paths::attempt_artifacts(job.id, lease.attempt),
                escaped(path),
            );
            self.upload(&address, lease.token.as_str(), content).await;
            artifacts.push(Artifact {
                path: path.to_owned(),
                bytes: content.len() as u64,
                sha256: sha256.to_owned(),
                executable: path.starts_with("bin/"),
            });
        }
        let changes = Changes {
            created: vec!["bin/hello".into(), "odd\u{1b}".into()],
            modified: vec!["log".into()],
            more: 7,
            ..Changes::default()
        };
        let changes = Some(Box::new(changes));
        let update = JobUpdate { artifacts, changes, ..ended(job.id, lease, code) };
        self.client.update(&update).await.unwrap();
    }

    async fn upload(&self, path: &str, token: &str, content: &[u8]) {
        let host = self.client.url().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\norchestra-lease: {token}\r\nconnection: close\r\n\
             content-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
            content.len()
        );
        stream.write_all(&[head.as_bytes(), content].concat()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_a_job_left_is_listed_and_fetched() {
    let master = Master::start().await;
    master.submit(|spec| spec.artifacts = vec!["**/*".into()]).await;
    master.leave(&[HELLO, ODD, EMPTY], 1).await;

    let table = master.prints(&["artifacts", "1"]).await;
    let lines: Vec<_> =
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["PATH", "SIZE", "SHA256"]);
    assert_eq!(lines[2], ["bin/hello", "6", &HELLO.2[..12]]);
    let names = master.prints(&["artifacts", "@latest", "-o", "name"]).await;
    assert_eq!(names, "a b/\u{e4}%2f\nbin/hello\nempty\n");
    let listed = master.prints(&["artifacts", "1", "-o", "json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&listed["attempt"], &listed["artifacts"][1]["executable"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(master.prints(&["artifacts", "1", ODD.0]).await, "abc");

    let place = TempDir::new().unwrap();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    master.prints(&["artifacts", "1", "bin/hello", "--to", &at("renamed")]).await;
    master.prints(&["artifacts", "1", "bin/hello", "--to", &at("")]).await;
    master.prints(&["artifacts", "1", "--all", "--to", &at("all/of/it")]).await;
    let due =
        ["all/of/it/a b/\u{e4}%2f", "all/of/it/bin/hello", "all/of/it/empty", "hello", "renamed"];
    assert_eq!(files(place.path()), due);
    let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode();
    assert_eq!(fs::read(at("renamed")).unwrap(), HELLO.1);
    assert!(mode("all/of/it/bin/hello") & 0o100 != 0 && mode("all/of/it/empty") & 0o111 == 0);

    fs::write(at("renamed"), "mine").unwrap();
    let again = master.cli(&["artifacts", "1", "bin/hello", "--to", &at("renamed")]).await;
    assert!(sentence(&again).ends_with("it is there already; --force replaces it"), "{again:?}");
    assert_eq!(fs::read(at("renamed")).unwrap(), b"mine");
    master.prints(&["artifacts", "1", "bin/hello", "--force", "--to", &at("renamed")]).await;
    assert_eq!(fs::read(at("renamed")).unwrap(), HELLO.1);
    master.stop().await;
}

#[tokio::test]
async fn nothing_is_written_outside_of_the_folder() {
    let master = Master::start().await;
    master.submit(|spec| spec.artifacts = vec!["**/*".into()]).await;
    master.leave(&[HELLO, EMPTY], 0).await;
    let place = TempDir::new().unwrap();
    let (inside, outside) = (place.path().join("in"), place.path().join("out"));
    fs::create_dir_all(&inside).unwrap();
    fs::create_dir_all(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, inside.join("bin")).unwrap();
    let to = inside.to_str().unwrap();
    let refused = master.cli(&["artifacts", "1", "--all", "--force", "--to", to]).await;
    assert!(sentence(&refused).contains("a link or a file stands in the way"), "{refused:?}");
    assert!(files(&outside).is_empty());
    master.stop().await;
}

#[tokio::test]
async fn who_asks_for_what_is_not_there_is_told_what_there_is() {
    let master = Master::start().await;
    master.submit(|_| {}).await;
    let none = master.cli(&["artifacts", "1"]).await;
    assert!(
        sentence(&none).starts_with("job 1 keeps no artifacts (give it \"artifacts\""),
        "{none:?}"
    );
    let early = master.cli(&["changes", "1"]).await;
    assert!(sentence(&early).starts_with("no attempt of job 1 has ended yet"), "{early:?}");
    master.leave(&[], 0).await;
    master.submit(|spec| spec.artifacts = vec!["*".into()]).await;
    master.leave(&[EMPTY], 0).await;
    let other = master.cli(&["artifacts", "2", "full"]).await;
    assert!(sentence(&other).contains("`orchestra artifacts 2` lists what it left"), "{other:?}");
    let nowhere = master.cli(&["artifacts", "2", "--to", "x"]).await;
    assert_eq!(sentence(&nowhere), "name a file to fetch, or fetch them --all");
    master.stop().await;
}

#[tokio::test]
async fn what_changed_is_shown_line_by_line() {
    let master = Master::start().await;
    master.submit(|_| {}).await;
    master.leave(&[], 0).await;
    let changes = master.cli(&["changes", "1"]).await;
    let lines = "created   bin/hello\ncreated   odd\\u{1b}\nmodified  log\n";
    assert_eq!(text(&changes.stdout), lines);
    assert_eq!(text(&changes.stderr), "orchestra: 7 more are not listed\n");
    assert_eq!(
        master.prints(&["changes", "1", "-o", "name"]).await,
        "bin/hello\nodd\\u{1b}\nlog\n"
    );
    let told: Value =
        serde_json::from_str(&master.prints(&["changes", "1", "-o", "json"]).await).unwrap();
    assert_eq!((&told["attempt"], &told["more"]), (&json!(1), &json!(7)));
    master.stop().await;
}

#[tokio::test]
async fn run_takes_files_along_and_brings_back_what_is_left() {
    let master = Master::start().await;
    let place = TempDir::new().unwrap();
    let script = place.path().join("script.sh");
    fs::write(&script, "echo hi\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let with = format!("{}:tools/run.sh", script.display());
    let out = place.path().join("out");
    let fetch = out.to_str().unwrap();
    for code in [0, 3] {
        let arguments =
            ["run", "--with-file", &with, "--artifact", "**/*", "--fetch", fetch, "tools/run.sh"];
        let (ran, ()) = tokio::join!(master.cli(&arguments), master.leave(&[HELLO, EMPTY], code));
        assert_eq!(ran.status.code(), Some(code), "{ran:?}");
        assert_eq!(files(&out), ["bin/hello", "empty"]);
        fs::write(out.join("empty"), "it is replaced").unwrap();
    }
    let job = master.client.job(orchestra_contracts::JobId(1)).await.unwrap();
    let file = JobFile { executable: true, ..JobFile::of_text("tools/run.sh", "echo hi\n") };
    assert_eq!((job.spec.files, job.spec.artifacts), (vec![file], vec!["**/*".to_owned()]));
    master.stop().await;
}

#[tokio::test]
async fn what_is_too_large_for_the_spec_is_brought_before_it() {
    let master = Master::start().await;
    let place = TempDir::new().unwrap();
    let (small, large) = (place.path().join("small"), place.path().join("large"));
    fs::write(&small, "small\n").unwrap();
    let content: Vec<u8> = (0..=250).cycle().take((3 << 20) + 5).collect();
    fs::write(&large, &content).unwrap();
    let with = [&small, &large].map(|path| path.to_str().unwrap());
    let arguments = ["submit", "--with-file", with[0], "--with-file", with[1], "true"];
    // The second time it is there already.
    for id in 1..=2 {
        assert_eq!(master.prints(&arguments).await, format!("{id}\n"));
    }
    let job = master.client.job(orchestra_contracts::JobId(2)).await.unwrap();
    let [small, large] = &job.spec.files[..] else { panic!("{:?}", job.spec.files) };
    assert_eq!(small, &JobFile::of_text("small", "small\n"));
    let upload = large.upload.as_ref().unwrap();
    assert_eq!((large.path.as_str(), &large.text), ("large", &None));
    let (piece, whole) = master.client.upload_piece(upload, 2 << 20, 1 << 20).await.unwrap();
    assert_eq!((&piece[..], whole), (&content[2 << 20..3 << 20], content.len() as u64));
    let missing = master.cli(&["submit", "--with-file", "no/such:x", "true"]).await;
    assert_eq!(missing.status.code(), Some(125));
    let scheduled = ["schedule", "create", "--with-file", with[1], "--cron", "@daily", "s", "true"];
    let refused = master.cli(&scheduled).await;
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("/spec/files/0/upload"),
        "{refused:?}"
    );
    master.stop().await;
}

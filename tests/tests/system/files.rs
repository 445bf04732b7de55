//! Input files and artifacts of jobs, end to end: through real containers and the command line.

use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt as _};

use orchestra_contracts::{JobStatus, files::AttemptChanges, paths};
use orchestra_tests::Plan;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Builds from the job's files; writes a binary, a large, an empty and an oddly named file; and changes
/// files that existed before.
const SCRIPT: &str = "
    test \"$(cat data/in.txt)\" = 'some text' || exit 90
    cmp data/in.bin <(printf '\\000\\377') || exit 91
    tools/run.sh || exit 92
    mkdir -p 'out/a b'
    head -c 5000000 /dev/urandom > out/large.bin
    : > 'out/a b/ä'
    echo text > out/x.log
    ln -s /etc/passwd out/link
    echo more >> data/in.txt
    sha256sum < out/large.bin | cut -d ' ' -f 1";

fn spec(workspace: &str, code: u8) -> serde_json::Value {
    json!({
        "command": format!("{SCRIPT}\nexit {code}"),
        "workspace": workspace,
        "files": [
            {"path": "data/in.txt", "text": "some text"},
            {"path": "data/in.bin", "base64": "AP8="},
            {"path": "tools/run.sh", "text": "#!/bin/sh\necho it runs\n", "executable": true},
        ],
        "artifacts": ["out/**/*", "tools/*.sh", "nothing/*"],
    })
}

#[tokio::test]
async fn what_a_job_is_given_it_has_and_what_it_leaves_is_fetched() {
    let Some(stack) = Plan::default().start().await else { return };
    for (workspace, code) in [("private", 0), ("private", 7), ("shared", 0)] {
        let job = stack.api.run(&spec(workspace, code)).await;
        assert_eq!(job.exit_code, Some(i32::from(code)), "{workspace}: {job:?}");
        let status = if code == 0 { JobStatus::Completed } else { JobStatus::Failed };
        assert_eq!(job.status, status);
        let id = job.id.to_string();
        let names = stack.cli(&["artifacts", &id, "-o", "name"]).await.expect(0).stdout;
        let left = ["out/a b/ä", "out/large.bin", "out/x.log", "tools/run.sh"];
        assert_eq!(names.lines().collect::<Vec<_>>(), left, "{workspace}, {code}");

        let out = stack.folder().join(format!("fetched-{id}"));
        let to = out.to_str().expect("it is text");
        let _ = stack.cli(&["artifacts", &id, "--all", "--to", to]).await.expect(0);
        let large = fs::read(out.join("out/large.bin")).unwrap();
        assert_eq!(large.len(), 5_000_000);
        let mut sum = String::new();
        Sha256::digest(&large).iter().for_each(|byte| write!(sum, "{byte:02x}").unwrap());
        assert_eq!(job.output.lines().last(), Some(sum.as_str()), "as the job itself saw it");
        assert_eq!(fs::read(out.join("out/a b/ä")).unwrap(), b"");
        let mode = |name: &str| fs::metadata(out.join(name)).unwrap().permissions().mode() & 0o100;
        assert_eq!((mode("tools/run.sh"), mode("out/x.log")), (0o100, 0));
        let log = stack.cli(&["artifacts", &id, "out/x.log"]).await.expect(0).stdout;
        assert_eq!(log, "text\n");
        let tar = stack.api.get(&format!("{}?format=tar", paths::artifacts(job.id))).await;
        assert!(tar.expect(200).body.len() > 5_000_000);

        let told = stack.api.get(&paths::changes(job.id)).await.expect(200);
        let AttemptChanges { changes, .. } = told.json();
        for path in ["out/large.bin", "out/x.log", "out/a b/ä"] {
            let known = changes.created.iter().chain(&changes.modified).any(|it| it == path);
            assert!(known, "{path} is not in {changes:?}");
        }
        assert!(changes.modified.iter().any(|path| path == "data/in.txt"), "{changes:?}");
        let shown = stack.cli(&["changes", &id]).await.expect(0).stdout;
        assert!(shown.contains("modified  data/in.txt\n"), "{shown}");
        if workspace == "shared" {
            let _ = stack.api.run(&json!({"command": "rm -r out data tools"})).await;
        }
    }
    stack.stop().await;
}

#[tokio::test]
async fn run_takes_a_file_along_and_brings_back_what_it_became() {
    let Some(stack) = Plan::default().start().await else { return };
    let source = stack.folder().join("main.cpp");
    fs::write(&source, "#include <cstdio>\nint main() { puts(\"built\"); }\n").unwrap();
    let with = format!("{}:main.cpp", source.display());
    let out = stack.folder().join("out");
    let fetch = out.to_str().expect("it is text");
    let ran = stack
        .cli(&[
            "run",
            "--private",
            "--with-file",
            &with,
            "--artifact",
            "Hello",
            "--fetch",
            fetch,
            "g++ -static main.cpp -o Hello && ./Hello",
        ])
        .await;
    assert_eq!(ran.expect(0).stdout, "built\n");
    let hello = fs::metadata(out.join("Hello")).unwrap();
    assert!(hello.len() > 1000 && hello.permissions().mode() & 0o100 != 0);
    stack.stop().await;
}

/// A file larger than a spec, and larger than the sandbox could hold in memory.
#[tokio::test]
async fn a_large_file_goes_along_and_is_there_whole() {
    let Some(stack) = Plan::default().start().await else { return };
    let source = stack.folder().join("data.bin");
    let content: Vec<u8> = (0..=250).cycle().take(40 << 20).collect();
    fs::write(&source, &content).unwrap();
    let with = format!("{}:in/data.bin", source.display());
    let run =
        ["run", "--private", "--memory", "32m", "--with-file", &with, "sha256sum < in/data.bin"];
    let mut sum = String::new();
    for byte in Sha256::digest(&content) {
        write!(sum, "{byte:02x}").unwrap();
    }
    for _ in 0..2 {
        assert_eq!(stack.cli(&run).await.expect(0).stdout, format!("{sum}  -\n"));
    }
    stack.stop().await;
}

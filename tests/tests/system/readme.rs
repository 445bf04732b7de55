//! The curl lines in README.md, run in order by a shell as written. Only the port differs.

use orchestra_contracts::DEFAULT_PORT;
use orchestra_tests::{Plan, Stack, repository, shell};

/// Error statuses that are expected because job 1 has already ended.
const NOT_NOW: [(&str, u16); 1] = [("/api/job/1/cancel", 409)];

/// Hash of the file that job 1 leaves, `a program`.
const SHA256: &str = "d69ea8cda2433733c1ce02de65da8f48e6a3dbba6bb18876a2062908e54ef7cb";

/// The curl lines in tables and in examples.
fn lines() -> Vec<String> {
    let page = std::fs::read_to_string(repository().join("README.md")).expect("it is there");
    let pieces: Vec<_> = page.split('`').filter(|piece| piece.starts_with("curl ")).collect();
    pieces.into_iter().map(|piece| piece.trim().to_owned()).collect()
}

/// Makes job 1 as the lines expect it: finished, with an artifact. A worker made of curl runs it.
async fn job_1(stack: &Stack) {
    let job = serde_json::json!({"command": "make build/Hello", "artifacts": ["build/*"]});
    assert_eq!(stack.api.submit(&job).await.id.0, 1);
    let script = format!(
        r#"set -e
        json='content-type: application/json'
        curl -sf -H "$json" -d '"me"' "$BASE/api/job/claim"
        ran='{{"image": "gcc", "imageId": "sha256:0", "user": "1000:1000", "cpus": 1, "memory": "1g", "pids": 64, "tmp": "64m", "fileSize": "1g"}}'
        curl -sf -H "$json" -d '{{"id": 1, "status": "Running", "assignedWorker": "me", "ran": '"$ran"'}}' "$BASE/api/job/update"
        curl -sf -H 'content-type: application/octet-stream' -d 'a program' "$BASE/api/job/1/attempts/1/artifacts?path=build/Hello&offset=0&worker=me"
        kept='[{{"path": "build/Hello", "bytes": 9, "sha256": "{SHA256}", "executable": true}}]'
        curl -sf -H "$json" -d '{{"id": 1, "status": "Completed", "assignedWorker": "me", "output": "hello\n", "artifacts": '"$kept"', "changes": {{"created": ["build/Hello"]}}}}' "$BASE/api/job/update"
        "#
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("worker.sh");
    std::fs::write(&file, script).expect("there is room");
    let _ = shell(&file, &[("BASE", &stack.api.url(""))]).await;
}

#[tokio::test]
async fn its_lines_for_curl_do_what_they_say() {
    let stack = Plan::default().workers(0).start().await.expect("a master alone needs no engine");
    job_1(&stack).await;
    let folder = tempfile::tempdir().unwrap();
    let lines = lines();
    assert!(lines.len() >= 19, "{lines:#?}");
    for line in &lines {
        let here = line
            .replace(&format!("localhost:{DEFAULT_PORT}"), &format!("localhost:{}", stack.port));
        assert_ne!(&here, line, "the line does not name the master's address");
        // The same line, with a curl that also prints the status.
        let script = format!(
            "cd '{}'\ncurl() {{ command curl -sS -w '\\n%{{http_code}}\\n' \"$@\"; }}\n{here}\n",
            folder.path().display()
        );
        let file = folder.path().join("line.sh");
        std::fs::write(&file, script).unwrap();
        let said = shell(&file, &[]).await;
        let status: u16 = said.trim_end().rsplit('\n').next().unwrap().parse().unwrap();
        let due = NOT_NOW.iter().find(|(part, _)| line.contains(part));
        match due {
            Some((_, due)) => assert_eq!(status, *due, "{line}: {said}"),
            None => assert!((200..300).contains(&status), "{line}: {said}"),
        }
    }
    assert_eq!(std::fs::read(folder.path().join("Hello")).unwrap(), b"a program");
    stack.stop().await;
}

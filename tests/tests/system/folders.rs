//! The folders that jobs run in: who owns the files, and what happens when the disk is full.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    time::Duration,
};

use orchestra_contracts::JobStatus;
use orchestra_tests::{Plan, SmallDisk, is_root, program, skip, wait};
use serde_json::json;

/// As after a clone by root, and by a user with a restrictive umask.
#[tokio::test]
async fn files_belong_to_the_owner_of_the_folder_and_never_to_root() {
    if !is_root() {
        return skip("owners", "only root can make folders of others");
    }
    for (owner, user) in [(0, 1000), (1234, 1234)] {
        let Some(stack) = Plan::default().owner(owner).start().await else { return };
        let hello = stack.files().join("Hello.cpp");
        assert_eq!(
            hello.metadata().unwrap().uid(),
            user,
            "the folder gets another owner if root owns it"
        );
        fs::set_permissions(stack.files(), fs::Permissions::from_mode(0o700)).unwrap();
        let command = "id -u; echo // >> Hello.cpp; echo x > file; mkdir folder; umask";
        let job = stack.api.run(&json!({ "command": command })).await;
        assert_eq!((job.output.as_str(), job.error.as_str()), (&*format!("{user}\n0022\n"), ""));
        for (name, mode) in [("file", 0o644), ("folder", 0o755)] {
            let made = stack.files().join(name).metadata().unwrap();
            assert_eq!((made.uid(), made.mode() & 0o777), (user, mode), "{name}");
        }
        stack.stop().await;
    }
}

#[tokio::test]
async fn a_private_folder_hides_the_shared_one_and_is_gone_afterwards() {
    let Some(stack) = Plan::default().start().await else { return };
    let script = "pwd; ls -A; echo 'int main() {}' > a.cpp && g++ a.cpp -o a && ./a && echo built";
    let run = stack.command(&["run", "--private", script]);
    assert_eq!(program::run(run, wait::JOB).await.expect(0).stdout, "/work\nbuilt\n");
    assert!(!stack.files().join("a.cpp").exists());
    let twice = "ls -A; touch left; exit 1";
    let spec = json!({"command": twice, "workspace": "private", "maxRetries": 1});
    let job = stack.api.run(&spec).await;
    assert_eq!((job.status, job.attempt.map(|attempt| attempt.0)), (JobStatus::Failed, Some(2)));
    assert_eq!(stack.api.log(job.id, "").await, "", "the second attempt has a new one");
    let wrong = stack.api.post("/api/job", &json!({"command": "true", "workspace": "own"})).await;
    assert_eq!(wrong.expect(422).json::<serde_json::Value>()["errors"][0]["pointer"], "/workspace");
    stack.stop().await;
}

#[tokio::test]
async fn a_worker_without_room_for_files_claims_nothing_until_there_is_some() {
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(home.path().join("files"), "64m") else { return };
    let plan = Plan::default()
        .setting("ORCHESTRA_WORKER_FILES", disk.path().display().to_string())
        .setting("ORCHESTRA_MIN_FREE", "32m");
    let Some(stack) = plan.start().await else { return };
    let job = stack.api.run(&json!({"command": "head -c 40m /dev/zero > big; echo full"})).await;
    assert_eq!(job.output, "full\n", "running jobs go on below the mark");
    let reason = wait::until("the worker to be unwell", wait::SOON, async || {
        stack.api.workers().await.remove(0).unwell
    })
    .await;
    assert!(reason.contains("worker-files"), "{reason}");
    let waiting = stack.api.command("echo there is room").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stack.api.job(waiting.id).await.status, JobStatus::Pending);

    fs::remove_file(disk.path().join("big")).unwrap();
    assert_eq!(stack.api.finished(waiting.id).await.output, "there is room\n");
    wait::until("the worker to be well", wait::SOON, async || {
        stack.api.workers().await.remove(0).unwell.is_none().then_some(())
    })
    .await;
    stack.stop().await;
}

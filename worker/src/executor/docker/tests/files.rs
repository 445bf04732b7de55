//! Files that come with a job, and what the job is said to have changed.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
};

use orchestra_contracts::{JobFile, JobSpec, Outcome, Workspace};
use rstest::rstest;

use super::lab::{Lab, Seen};

fn spec(workspace: Workspace, files: Vec<JobFile>, command: &str) -> JobSpec {
    JobSpec { workspace, files, ..JobSpec::new(command) }
}

fn refusal(seen: &Seen) -> String {
    match &seen.outcome {
        Outcome::Refused { reason } => reason.clone(),
        outcome => panic!("{outcome:?}"),
    }
}

#[rstest]
#[tokio::test]
async fn files_are_there_byte_by_byte_before_the_command_begins(
    #[values(Workspace::Shared, Workspace::Private)] workspace: Workspace,
) {
    let Some(lab) = Lab::open(&[]).await else { return };
    let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let files = vec![
        JobFile::of_bytes("data/deep/all", &all),
        JobFile { executable: true, ..JobFile::of_text("bin/run", "#!/bin/sh\necho \"$0\"\n") },
        JobFile::of_text("with a blank, ä and -", ""),
    ];
    let command =
        "cksum < data/deep/all; bin/run; stat -c '%a %u %n' data bin/run data/deep/all *ä*
        touch data/deep/mine";
    let seen = lab.run_spec(spec(workspace, files.clone(), command)).await;
    let user = lab.executor.worker_files.user.uid;
    let said = seen.success();
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].ends_with(" 300000"), "{said}");
    assert_eq!(
        lines[1..],
        [
            "bin/run".to_owned(),
            format!("755 {user} data"),
            format!("755 {user} bin/run"),
            format!("644 {user} data/deep/all"),
            format!("644 {user} with a blank, ä and -"),
        ]
    );
    let changes = seen.end.changes.as_ref().expect("it says what changed");
    assert_eq!(changes.created, ["data/deep/mine"], "what came with it is not its doing");
    if workspace == Workspace::Shared {
        assert!(fs::read(lab.files().join("data/deep/all")).unwrap() == all, "bytes differ");
        // And once more, where they stand already.
        let again = lab.run_spec(spec(workspace, files, "bin/run")).await;
        assert_eq!(again.success(), "bin/run\n");
        assert_eq!(fs::read_dir(lab.files().join("data/deep")).unwrap().count(), 2);
    }
    lab.close().await;
}

#[tokio::test]
async fn a_file_is_never_written_through_a_link() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let victim = tempfile::NamedTempFile::new().unwrap();
    fs::write(victim.path(), "theirs").unwrap();
    assert_eq!(
        lab.run("ln -s /tmp evil; ln -s . here; mkdir in; echo x > plain").await.success(),
        ""
    );
    symlink(victim.path(), lab.files().join("victim")).unwrap();
    for path in ["evil/x", "here/x", "plain/x", "in"] {
        let files = vec![JobFile::of_text(path, "x")];
        let seen = lab.run_spec(spec(Workspace::Shared, files, "touch ran")).await;
        let reason = refusal(&seen);
        assert!(reason.contains(&format!("the file {path} cannot be put")), "{reason}");
        assert!(!seen.started);
    }
    // The master refuses these; they lead nowhere here, either.
    for path in ["../x", "/x", "in/../../x", ""] {
        let files = vec![JobFile::of_text(path, "x")];
        let seen = lab.run_spec(spec(Workspace::Shared, files, "touch ran")).await;
        assert!(refusal(&seen).contains("no path below it"), "{path}");
    }
    assert!(!lab.files().join("ran").exists());
    // The link itself makes room.
    let files = vec![JobFile::of_text("victim", "ours")];
    let seen = lab.run_spec(spec(Workspace::Shared, files, "cat victim")).await;
    assert_eq!(seen.success(), "ours");
    assert_eq!(fs::read_to_string(victim.path()).unwrap(), "theirs");
    assert!(lab.files().join("victim").symlink_metadata().unwrap().nlink() == 1);
    lab.close().await;
}

#[tokio::test]
async fn what_a_job_changed_is_told_and_not_what_a_link_leads_to() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("old"), "old").unwrap();
    let before = "mkdir -p a/b gone; echo 1 > a/b/edited; touch a/kept gone/file; ln -s /tmp tmp";
    let seen = lab.run(before).await;
    let changes = seen.end.changes.as_ref().unwrap();
    let created = ["a", "a/b", "a/b/edited", "a/kept", "gone", "gone/file", "tmp"];
    assert_eq!(changes.created, created);
    symlink(outside.path(), lab.files().join("out")).unwrap();
    let during = "echo 2 > a/b/edited; rm -r gone; mkdir -p new; touch new/file tmp/x; cat a/kept";
    let seen = lab.run(during).await;
    let changes = seen.end.changes.as_ref().unwrap();
    assert_eq!(changes.created, ["new", "new/file"]);
    assert_eq!(changes.modified, ["a/b/edited"]);
    assert_eq!(changes.deleted, ["gone", "gone/file"]);
    assert_eq!((changes.more, changes.incomplete), (0, false));
    let seen = lab.run("cat a/kept; exit 3").await;
    assert_eq!(seen.end.changes.as_deref(), Some(&orchestra_contracts::files::Changes::default()));
    lab.close().await;
}

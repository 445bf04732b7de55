//! Files that come with a job, and the changes that are reported for it.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use orchestra_contracts::{ContentHash, JobFile, JobSpec, Outcome, Workspace};
use rstest::rstest;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::lab::{Lab, Seen, run_spec, start_run};
use crate::{
    control::{Control, Stop},
    executor::{RunSpec, uploads::UploadSource},
};

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
        // Once more, with the files already in place.
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
    // The master refuses these paths. The sandbox refuses them as well.
    for path in ["../x", "/x", "in/../../x", ""] {
        let files = vec![JobFile::of_text(path, "x")];
        let seen = lab.run_spec(spec(Workspace::Shared, files, "touch ran")).await;
        assert!(refusal(&seen).contains("no path below it"), "{path}");
    }
    assert!(!lab.files().join("ran").exists());
    // The link itself is replaced.
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

/// One upload, served in pieces of a MiB.
struct Held {
    content: Vec<u8>,
    /// Delay before each piece.
    pause: Duration,
    /// The length that it claims to have.
    whole: u64,
}

impl Held {
    fn of(content: &[u8]) -> Self {
        let (content, pause) = (content.to_vec(), Duration::ZERO);
        Self { whole: content.len() as u64, content, pause }
    }
}

#[async_trait]
impl UploadSource for Held {
    async fn piece(&self, _: &ContentHash, offset: u64) -> Result<(Bytes, u64), String> {
        sleep(self.pause).await;
        let rest = self.content.get(offset as usize..).ok_or("there is no such file")?;
        Ok((Bytes::copy_from_slice(&rest[..rest.len().min(1 << 20)]), self.whole))
    }
}

fn hash_of(content: &[u8]) -> ContentHash {
    hex::encode(Sha256::digest(content)).parse().unwrap()
}

fn with_upload(workspace: Workspace, content: &[u8], uploads: Held, command: &str) -> RunSpec {
    let executable = JobFile { executable: true, ..JobFile::of_upload("in/x", hash_of(content)) };
    let files = vec![executable, JobFile::of_text("beside", "text\n")];
    RunSpec { uploads: Arc::new(uploads), ..run_spec(spec(workspace, files, command)) }
}

/// The files in worker-files, whatever their folder.
fn left_of(lab: &Lab) -> Vec<String> {
    let mut names = Vec::new();
    for folder in [lab.files(), lab.files().join("in")] {
        let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        names.extend(files.map(|entry| entry.file_name().into_string().unwrap()));
    }
    names
}

fn control() -> Control {
    Control::new(Instant::now() + Duration::from_mins(1))
}

#[rstest]
#[tokio::test]
async fn an_uploaded_file_is_there_whole_before_the_command_begins(
    #[values(Workspace::Shared, Workspace::Private)] workspace: Workspace,
) {
    let Some(lab) = Lab::open(&[]).await else { return };
    // More than the sandbox's memory, to show that it is not kept there.
    let content: Vec<u8> = (0..=250).cycle().take((40 << 20) + 17).collect();
    let command = "sha256sum < in/x; stat -c %a in/x; cat beside";
    let mut run = with_upload(workspace, &content, Held::of(&content), command);
    run.spec.resources.memory = Some("24m".parse().unwrap());
    let seen = start_run(&lab.executor, run, control()).end().await;
    assert_eq!(seen.success(), format!("{}  -\n755\ntext\n", hash_of(&content)));
    lab.close().await;
}

#[tokio::test]
async fn a_file_that_does_not_arrive_whole_is_in_nobodys_place() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let other = Held::of(b"other");
    let short = Held { whole: 9, ..Held::of(b"right") };
    let none = Held { content: Vec::new(), whole: 5, ..Held::of(b"") };
    for (uploads, why) in [(other, "garbled"), (short, "garbled"), (none, "garbled")] {
        let run = with_upload(Workspace::Shared, b"right", uploads, "touch ran");
        let seen = start_run(&lab.executor, run, control()).end().await;
        match &seen.outcome {
            Outcome::CouldNotStart { reason } => assert!(reason.contains(why), "{reason}"),
            outcome => panic!("{outcome:?}"),
        }
        assert!(!seen.started);
        assert_eq!(left_of(&lab), ["beside"; 1], "{why}");
    }
    assert!(!lab.files().join("ran").exists());
    lab.close().await;
}

#[tokio::test]
async fn a_job_can_be_cancelled_while_its_file_is_on_its_way() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let content = vec![7; 8 << 20];
    for (stop, outcome) in
        [(Stop::Cancel, Outcome::Cancelled), (Stop::HandBack, Outcome::HandedBack)]
    {
        let uploads = Held { pause: Duration::from_secs(1), ..Held::of(&content) };
        let run = with_upload(Workspace::Shared, &content, uploads, "touch ran");
        let control = control();
        let running = start_run(&lab.executor, run, control.clone());
        let stopping = async {
            while !lab.files().join("in").exists() {
                sleep(Duration::from_millis(20)).await;
            }
            control.stop(stop);
        };
        let (seen, ()) = tokio::join!(running.end(), stopping);
        assert_eq!((seen.outcome, seen.started), (outcome, false));
        assert_eq!(left_of(&lab), ["beside"; 1]);
        fs::remove_dir_all(lab.files().join("in")).unwrap();
    }
    assert!(!lab.files().join("ran").exists());
    lab.close().await;
}

/// The transfer takes longer than the sandbox's first lease.
#[tokio::test]
async fn the_lease_is_renewed_while_a_file_is_on_its_way() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let content = vec![7; 8 << 20];
    let uploads = Held { pause: Duration::from_millis(600), ..Held::of(&content) };
    let run = with_upload(Workspace::Shared, &content, uploads, "stat -c %s in/x");
    let control = Control::new(Instant::now() + Duration::from_secs(3));
    let running = start_run(&lab.executor, run, control.clone());
    let renewing = async {
        for _ in 0..5 {
            sleep(Duration::from_secs(1)).await;
            control.renew(Instant::now() + Duration::from_secs(3));
        }
        control.renew(Instant::now() + Duration::from_mins(1));
    };
    let (seen, ()) = tokio::join!(running.end(), renewing);
    assert_eq!(seen.success(), format!("{}\n", 8 << 20));
    lab.close().await;
}

//! Files that attempts leave: each byte once, from the holder of the lease alone, and there for
//! everybody when the attempt has ended with them.

use bytes::Bytes;
use orchestra_contracts::{
    AttemptNo, JobSpec, JobStatus, Outcome, Size,
    files::{Artifact, Changes},
    limits,
    worker::ArtifactHead,
};
use sha2::{Digest, Sha256};

use super::{Held, TestStore, at, every_adapter, spec};
use crate::{
    domain::{AttemptResults, JobEvent, MissingArtifact, Refusal},
    store::{ArtifactLimit, ArtifactPiece, PieceStored},
};

every_adapter!(
    a_file_is_stored_byte_for_byte,
    a_piece_that_is_stored_already_is_skipped,
    a_hole_in_a_file_is_refused,
    only_the_holder_stores_files,
    a_job_that_asks_for_none_keeps_none,
    an_end_waits_for_the_files_that_it_names,
    what_it_does_not_end_with_is_dropped,
    what_a_lost_attempt_began_is_dropped,
    a_file_that_goes_beyond_the_limit_makes_room_for_others,
    no_more_files_are_kept_than_may_be,
    each_attempt_has_files_of_its_own,
    files_go_with_their_job,
    what_changed_is_kept_with_the_attempt,
);

const OK: Outcome = Outcome::Exited { code: 0 };

fn keeping() -> JobSpec {
    JobSpec { artifacts: vec!["**/*".into()], ..spec("true") }
}

fn file(path: &str, content: &[u8]) -> Artifact {
    let (path, bytes) = (path.to_owned(), content.len() as u64);
    Artifact { path, bytes, sha256: hex::encode(Sha256::digest(content)), executable: false }
}

impl Held {
    pub(super) fn piece(&self, path: &str, offset: u64, content: &[u8]) -> ArtifactPiece {
        ArtifactPiece {
            job: self.job.id,
            attempt: AttemptNo(self.job.attempts),
            proof: self.proof(),
            path: path.to_owned(),
            offset,
            content: Bytes::copy_from_slice(content),
            limit: Size::mib(1),
        }
    }

    pub(super) fn ended_with(&self, outcome: Outcome, artifacts: &[Artifact]) -> JobEvent {
        let results = AttemptResults { artifacts: artifacts.to_vec(), ..AttemptResults::default() };
        let proof = self.proof();
        JobEvent::Ended { proof, outcome, usage: None, log: None, tail: None, results }
    }
}

fn up_to(offset: u64) -> PieceStored {
    PieceStored::Stored(ArtifactHead { offset })
}

async fn put(store: &TestStore, held: &Held, path: &str, content: &[u8]) {
    let stored = store.append_artifact(held.piece(path, 0, content)).await.unwrap();
    assert_eq!(stored, up_to(content.len() as u64));
}

/// All of a file from `offset` on, as readers take it.
async fn read(store: &TestStore, held: &Held, path: &str, mut offset: u64) -> Vec<u8> {
    let (id, attempt) = (held.job.id, AttemptNo(held.job.attempts));
    let mut content = Vec::new();
    while let Some(bytes) = store.artifact_bytes(id, attempt, path, offset).await.unwrap() {
        assert!(!bytes.is_empty());
        offset += bytes.len() as u64;
        content.extend(bytes);
    }
    content
}

async fn listed(store: &TestStore, held: &Held) -> Vec<Artifact> {
    store.artifacts(held.job.id, AttemptNo(held.job.attempts), None).await.unwrap()
}

async fn a_file_is_stored_byte_for_byte(store: TestStore) {
    let held = store.submit_and_claim(keeping()).await;
    let content: Vec<u8> = (0..=255).cycle().take(1000).collect();
    for (place, piece) in content.chunks(300).enumerate() {
        let offset = place as u64 * 300;
        let stored = store.append_artifact(held.piece("a b/ä", offset, piece)).await.unwrap();
        assert_eq!(stored, up_to(offset + piece.len() as u64));
    }
    put(&store, &held, "empty", b"").await;
    assert_eq!(listed(&store, &held).await, [], "not before the end");
    let (large, empty) = (file("a b/ä", &content), file("empty", b""));
    let large = Artifact { executable: true, ..large };
    let end = held.ended_with(OK, &[empty.clone(), large.clone()]);
    assert!(store.event(held.job.id, end, at(2)).await.result.is_ok());
    assert_eq!(listed(&store, &held).await, [large.clone(), empty], "by path");
    let one = store.artifacts(held.job.id, AttemptNo(1), Some("a b/ä")).await.unwrap();
    assert_eq!(one, [large]);
    for path in ["a b", "a b/", "A B/ä", ""] {
        let none = store.artifacts(held.job.id, AttemptNo(1), Some(path)).await.unwrap();
        assert_eq!(none, [], "{path:?}");
    }
    for from in [0, 1, 299, 300, 599, 999, 1000, 5000] {
        let rest = content.get(from..).unwrap_or_default();
        assert_eq!(read(&store, &held, "a b/ä", from as u64).await, rest, "from {from}");
    }
    assert_eq!(read(&store, &held, "empty", 0).await, b"");
}

async fn a_piece_that_is_stored_already_is_skipped(store: TestStore) {
    let held = store.submit_and_claim(keeping()).await;
    let send = |offset, content| store.append_artifact(held.piece("a", offset, content));
    assert_eq!(send(0, b"abc").await.unwrap(), up_to(3));
    assert_eq!(send(0, b"abc").await.unwrap(), up_to(3), "again");
    assert_eq!(send(1, b"bcde").await.unwrap(), up_to(5), "overlapping");
    assert_eq!(send(0, b"ab").await.unwrap(), up_to(5), "late");
    assert_eq!(send(5, b"").await.unwrap(), up_to(5), "nothing");
    let end = held.ended_with(OK, &[file("a", b"abcde")]);
    assert!(store.event(held.job.id, end, at(2)).await.result.is_ok());
    assert_eq!(read(&store, &held, "a", 0).await, b"abcde");
}

async fn a_hole_in_a_file_is_refused(store: TestStore) {
    let held = store.submit_and_claim(keeping()).await;
    let send = |offset, content| store.append_artifact(held.piece("a", offset, content));
    let misplaced = |offset| PieceStored::Misplaced(ArtifactHead { offset });
    assert_eq!(send(1, b"b").await.unwrap(), misplaced(0));
    assert_eq!(send(0, b"a").await.unwrap(), up_to(1));
    assert_eq!(send(2, b"c").await.unwrap(), misplaced(1));
    assert_eq!(send(1, b"bc").await.unwrap(), up_to(3));
}

async fn only_the_holder_stores_files(store: TestStore) {
    let held = store.submit_and_claim(keeping()).await;
    put(&store, &held, "a", b"x").await;
    let right = held.piece("a", 1, b"y");
    let mut wrong = [right.clone(), right.clone(), right.clone(), right.clone()];
    wrong[0].proof.worker = "other".parse().unwrap();
    wrong[1].proof.token = orchestra_contracts::LeaseToken::new("other");
    wrong[2].proof.attempt = Some(AttemptNo(2));
    wrong[3].attempt = AttemptNo(2);
    for piece in wrong {
        let answer = store.append_artifact(piece.clone()).await.unwrap();
        assert_eq!(answer, PieceStored::LeaseLost, "{piece:?}");
    }
    let mut nowhere = right.clone();
    nowhere.job.0 = 99;
    assert_eq!(store.append_artifact(nowhere).await.unwrap(), PieceStored::NoSuchJob);
    let end = held.ended_with(OK, &[file("a", b"x")]);
    assert!(store.event(held.job.id, end, at(2)).await.result.is_ok());
    assert_eq!(store.append_artifact(right).await.unwrap(), PieceStored::LeaseLost, "ended");
    assert_eq!(read(&store, &held, "a", 0).await, b"x");
}

async fn a_job_that_asks_for_none_keeps_none(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    let answer = store.append_artifact(held.piece("a", 0, b"x")).await.unwrap();
    assert_eq!(answer, PieceStored::KeepsNone);
    let mut stale = held.piece("a", 0, b"x");
    stale.proof.token = orchestra_contracts::LeaseToken::new("other");
    assert_eq!(store.append_artifact(stale).await.unwrap(), PieceStored::LeaseLost);
}

async fn an_end_waits_for_the_files_that_it_names(store: TestStore) {
    let held = store.submit_and_claim(keeping()).await;
    put(&store, &held, "whole", b"abc").await;
    put(&store, &held, "begun", b"ab").await;
    let (whole, begun) = (file("whole", b"abc"), file("begun", b"abc"));
    let missing = |path: &str, said, offset| {
        let (path, head) = (path.to_owned(), ArtifactHead { offset });
        Err(Refusal::ArtifactIncomplete(MissingArtifact { path, said, head }))
    };
    for (named, refusal) in [
        (begun.clone(), missing("begun", 3, 2)),
        (file("never", b""), missing("never", 0, 0)),
        (file("whole", b"abd"), missing("whole", 3, 3)),
        (file("whole", b"ab"), missing("whole", 2, 3)),
    ] {
        let end = held.ended_with(OK, std::slice::from_ref(&named));
        let applied = store.event(held.job.id, end, at(2)).await;
        assert_eq!(applied.result, refusal, "{named:?}");
        assert_eq!(applied.job.status(), JobStatus::Assigned);
    }
    assert_eq!(store.append_artifact(held.piece("begun", 2, b"c")).await.unwrap(), up_to(3));
    let end = held.ended_with(OK, &[whole, begun]);
    let applied = store.event(held.job.id, end.clone(), at(2)).await;
    assert_eq!(applied.job.status(), JobStatus::Completed);
    assert!(store.event(held.job.id, end, at(3)).await.result.is_ok(), "told again");
    assert_eq!(listed(&store, &held).await.len(), 2);
}

async fn what_it_does_not_end_with_is_dropped(store: TestStore) {
    let held = store.submit_and_claim(keeping()).await;
    put(&store, &held, "begun", b"ab").await;
    put(&store, &held, "kept", b"x").await;
    let end = held.ended_with(Outcome::Exited { code: 1 }, &[file("kept", b"x")]);
    assert!(store.event(held.job.id, end, at(2)).await.result.is_ok());
    assert_eq!(listed(&store, &held).await, [file("kept", b"x")]);
    assert_eq!(read(&store, &held, "begun", 0).await, b"");
}

async fn what_a_lost_attempt_began_is_dropped(store: TestStore) {
    let held = store.submit_and_claim(keeping()).await;
    put(&store, &held, "begun", b"ab").await;
    assert_eq!(store.expire(at(100), 9).await.unwrap().len(), 1);
    assert_eq!(listed(&store, &held).await, []);
    assert_eq!(read(&store, &held, "begun", 0).await, b"");
}

async fn a_file_that_goes_beyond_the_limit_makes_room_for_others(store: TestStore) {
    let held = store.submit_and_claim(keeping()).await;
    let send = |path, offset, content| {
        let piece = held.piece(path, offset, content);
        store.append_artifact(ArtifactPiece { limit: Size(10), ..piece })
    };
    assert_eq!(send("a", 0, b"123").await.unwrap(), up_to(3));
    assert_eq!(send("b", 0, b"1234567").await.unwrap(), up_to(7), "just as much as may be");
    assert_eq!(send("b", 7, b"8").await.unwrap(), PieceStored::OverLimit(ArtifactLimit::Bytes));
    assert_eq!(send("c", 0, b"1234567").await.unwrap(), up_to(7), "b is gone");
    assert_eq!(send("d", 0, b"1").await.unwrap(), PieceStored::OverLimit(ArtifactLimit::Bytes));
    assert_eq!(send("a", 0, b"123").await.unwrap(), up_to(3), "what is stored is no more of it");
    assert_eq!(send("e", 0, b"").await.unwrap(), up_to(0));
    let files = [file("a", b"123"), file("c", b"1234567"), file("e", b"")];
    assert!(store.event(held.job.id, held.ended_with(OK, &files), at(2)).await.result.is_ok());
    assert_eq!(listed(&store, &held).await, files);
}

async fn no_more_files_are_kept_than_may_be(store: TestStore) {
    let held = store.submit_and_claim(keeping()).await;
    for number in 0..limits::ARTIFACTS {
        put(&store, &held, &number.to_string(), b"").await;
    }
    let one_more = store.append_artifact(held.piece("more", 0, b"")).await.unwrap();
    assert_eq!(one_more, PieceStored::OverLimit(ArtifactLimit::Files));
    put(&store, &held, "7", b"x").await;
}

async fn each_attempt_has_files_of_its_own(store: TestStore) {
    let first = store.submit_and_claim(JobSpec { max_retries: 1, ..keeping() }).await;
    put(&store, &first, "a", b"first").await;
    let end = first.ended_with(Outcome::Exited { code: 1 }, &[file("a", b"first")]);
    assert!(store.event(first.job.id, end, at(2)).await.result.is_ok());
    let second = store.claim_one("worker", at(100)).await;
    assert_eq!(
        store.append_artifact(first.piece("b", 0, b"x")).await.unwrap(),
        PieceStored::LeaseLost
    );
    put(&store, &second, "a", b"second").await;
    let end = second.ended_with(OK, &[file("a", b"second")]);
    assert!(store.event(first.job.id, end, at(101)).await.result.is_ok());
    assert_eq!(listed(&store, &first).await, [file("a", b"first")]);
    assert_eq!(listed(&store, &second).await, [file("a", b"second")]);
    assert_eq!(read(&store, &first, "a", 0).await, b"first");
    assert_eq!(read(&store, &second, "a", 0).await, b"second");
}

async fn files_go_with_their_job(store: TestStore) {
    let held = store.submit_and_claim(keeping()).await;
    let other = store.submit_and_claim(keeping()).await;
    for held in [&held, &other] {
        put(&store, held, "a", b"x").await;
        let end = held.ended_with(OK, &[file("a", b"x")]);
        assert!(store.event(held.job.id, end, at(2)).await.result.is_ok());
    }
    store.event(held.job.id, JobEvent::DeleteRequested, at(3)).await;
    assert_eq!(listed(&store, &held).await, []);
    assert_eq!(read(&store, &held, "a", 0).await, b"");
    assert_eq!(read(&store, &other, "a", 0).await, b"x");
}

async fn what_changed_is_kept_with_the_attempt(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    let (id, attempt) = (held.job.id, AttemptNo(1));
    assert_eq!(store.changes(id, attempt).await.unwrap(), None);
    let changes = Changes {
        created: vec!["a\n\u{fffd}".into()],
        deleted: vec!["b".into()],
        more: 7,
        incomplete: true,
        ..Changes::default()
    };
    let results =
        AttemptResults { changes: Some(Box::new(changes.clone())), ..AttemptResults::default() };
    let proof = held.proof();
    let end = JobEvent::Ended { proof, outcome: OK, usage: None, log: None, tail: None, results };
    assert!(store.event(id, end, at(2)).await.result.is_ok());
    assert_eq!(store.changes(id, attempt).await.unwrap(), Some(changes));
    assert_eq!(store.changes(id, AttemptNo(2)).await.unwrap(), None);
}

//! Files that are brought before the jobs that have them: once for each content, whole or not
//! there, and for as long as a job has them.

use bytes::Bytes;
use jiff::Timestamp;
use orchestra_contracts::{ContentHash, JobFile, JobId, JobSpec, Size, Upload};
use sha2::{Digest, Sha256};

use super::{TestStore, at as rules, every_adapter, spec};
use crate::{
    domain::{JobEvent, NewJob},
    store::{Store, Submitted, UPLOADS_KEPT, UploadPiece, UploadStored},
};

every_adapter!(
    an_upload_is_there_when_it_is_whole,
    what_is_stored_already_is_skipped_and_a_hole_refused,
    whoever_begins_anew_is_not_held_up_by_what_another_brought,
    one_that_is_too_large_is_dropped,
    jobs_have_uploads_that_are_there_whole,
    an_upload_stays_as_long_as_a_job_has_it,
);

fn at(seconds: i64) -> Timestamp {
    rules(seconds).now
}

fn hash_of(content: &[u8]) -> ContentHash {
    hex::encode(Sha256::digest(content)).parse().unwrap()
}

fn piece(sha256: &ContentHash, offset: u64, content: &[u8], second: i64) -> UploadPiece {
    let content = Bytes::copy_from_slice(content);
    UploadPiece { sha256: sha256.clone(), offset, content, limit: Size::mib(1), now: at(second) }
}

fn up_to(sha256: &ContentHash, bytes: u64, complete: bool) -> UploadStored {
    UploadStored::Stored(Upload { sha256: sha256.clone(), bytes, complete })
}

async fn put(store: &TestStore, content: &[u8], second: i64) -> ContentHash {
    let sha256 = hash_of(content);
    let stored = store.append_upload(piece(&sha256, 0, content, second)).await.unwrap();
    assert_eq!(stored, up_to(&sha256, content.len() as u64, true));
    sha256
}

async fn read(store: &TestStore, sha256: &ContentHash) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(bytes) = store.upload_bytes(sha256, content.len() as u64).await.unwrap() {
        content.extend_from_slice(&bytes);
    }
    content
}

fn having(sha256: &ContentHash) -> JobSpec {
    let files = vec![JobFile::of_upload("a", sha256.clone()), JobFile::of_text("b", "")];
    JobSpec { files, ..spec("true") }
}

async fn submit(store: &TestStore, specs: &[JobSpec]) -> Submitted {
    let jobs = specs.iter().cloned().map(NewJob::from).collect();
    Store::submit(&**store, jobs, None, at(0)).await.unwrap()
}

async fn an_upload_is_there_when_it_is_whole(store: TestStore) {
    let content: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let sha256 = hash_of(&content);
    let begin = piece(&sha256, 0, &content[..400], 0);
    assert_eq!(store.append_upload(begin).await.unwrap(), up_to(&sha256, 400, false));
    assert_eq!(store.upload(&sha256).await.unwrap(), None);
    assert_eq!(store.upload_bytes(&sha256, 0).await.unwrap(), None);
    let rest = piece(&sha256, 400, &content[400..], 0);
    assert_eq!(store.append_upload(rest).await.unwrap(), up_to(&sha256, 1000, true));
    assert_eq!(store.upload(&sha256).await.unwrap(), Some(1000));
    assert_eq!(read(&store, &sha256).await, content);
    let rest = store.upload_bytes(&sha256, 399).await.unwrap().unwrap();
    assert!(content[399..].starts_with(&rest), "as many as are kept together");
    assert_eq!(store.upload_bytes(&sha256, 1000).await.unwrap(), None);
    let empty = put(&store, b"", 0).await;
    assert_eq!(store.upload(&empty).await.unwrap(), Some(0));
}

async fn what_is_stored_already_is_skipped_and_a_hole_refused(store: TestStore) {
    let sha256 = hash_of(b"abcdef");
    let send = async |offset, content: &[u8]| {
        store.append_upload(piece(&sha256, offset, content, 0)).await.unwrap()
    };
    assert_eq!(send(1, b"b").await, UploadStored::Misplaced(0));
    assert_eq!(send(0, b"abc").await, up_to(&sha256, 3, false));
    assert_eq!(send(4, b"e").await, UploadStored::Misplaced(3));
    assert_eq!(send(1, b"bc").await, up_to(&sha256, 3, false));
    assert_eq!(send(2, b"cdef").await, up_to(&sha256, 6, true));
    // Whatever is said of it now.
    for (offset, content) in [(0, "other"), (6, "more"), (99, "")] {
        assert_eq!(send(offset, content.as_bytes()).await, up_to(&sha256, 6, true));
    }
    assert_eq!(read(&store, &sha256).await, b"abcdef");
}

async fn whoever_begins_anew_is_not_held_up_by_what_another_brought(store: TestStore) {
    let sha256 = hash_of(b"right");
    let wrong = store.append_upload(piece(&sha256, 0, b"wrong, and longer", 0)).await.unwrap();
    assert_eq!(wrong, up_to(&sha256, 17, false));
    assert_eq!(put(&store, b"right", 1).await, sha256);
    assert_eq!(read(&store, &sha256).await, b"right");
}

async fn one_that_is_too_large_is_dropped(store: TestStore) {
    let content = vec![7; (1 << 20) + 1];
    let sha256 = hash_of(&content);
    let begin = piece(&sha256, 0, &content[..1 << 20], 0);
    assert_eq!(store.append_upload(begin).await.unwrap(), up_to(&sha256, 1 << 20, false));
    let rest = || piece(&sha256, 1 << 20, &content[1 << 20..], 0);
    assert_eq!(store.append_upload(rest()).await.unwrap(), UploadStored::OverLimit);
    assert_eq!(store.append_upload(rest()).await.unwrap(), UploadStored::Misplaced(0));
}

async fn jobs_have_uploads_that_are_there_whole(store: TestStore) {
    let there = put(&store, b"there", 0).await;
    let begun = hash_of(b"begun, and not ended");
    store.append_upload(piece(&begun, 0, b"begun", 0)).await.unwrap();
    let nowhere = hash_of(b"nowhere");
    let mut missing = vec![begun.clone(), nowhere.clone()];
    missing.sort();
    let specs = [having(&there), having(&begun), having(&nowhere), having(&nowhere)];
    assert_eq!(submit(&store, &specs).await, Submitted::NoSuchUploads(missing));
    assert!(store.job(JobId(1)).await.unwrap().is_none(), "all or nothing");
    let Submitted::New(jobs) = submit(&store, &[having(&there), having(&there)]).await else {
        panic!("it is there");
    };
    assert_eq!(jobs[1].spec.files[0].upload.as_ref(), Some(&there));
}

async fn an_upload_stays_as_long_as_a_job_has_it(store: TestStore) {
    let (had, never_had) = (put(&store, b"had", 0).await, put(&store, b"not had", 0).await);
    let touched = put(&store, b"touched", 0).await;
    let begun = hash_of(b"begun, and not ended");
    store.append_upload(piece(&begun, 0, b"begun", 0)).await.unwrap();
    put(&store, b"touched", 10).await;
    let Submitted::New(jobs) = submit(&store, &[having(&had)]).await else { panic!("it is new") };
    let later = |second| at(second).saturating_add(UPLOADS_KEPT.0).unwrap();
    let forget = async |now: Timestamp| store.forget_uploads(now).await.unwrap();
    assert_eq!(forget(later(-1)).await, 0);
    assert_eq!(forget(later(0)).await, 2);
    assert_eq!(store.upload(&never_had).await.unwrap(), None);
    assert_eq!(store.upload(&touched).await.unwrap(), Some(7));
    assert_eq!(read(&store, &had).await, b"had");
    let rest = store.append_upload(piece(&begun, 5, b"", 0)).await.unwrap();
    assert_eq!(rest, UploadStored::Misplaced(0));
    let deleted =
        store.apply(jobs[0].id, JobEvent::DeleteRequested, rules(1)).await.unwrap().unwrap();
    assert!(deleted.result.is_ok());
    assert_eq!(forget(later(10)).await, 2);
    assert_eq!(store.upload(&had).await.unwrap(), None);
}

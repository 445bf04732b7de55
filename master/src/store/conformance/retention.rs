//! What is not kept any more: the oldest ends first, never what has not ended, and of a log the place.

use orchestra_contracts::{
    AttemptNo, JobId, Outcome,
    files::Artifact,
    frame::{Body, Frames},
};
use sha2::{Digest, Sha256};

use super::{Held, TestStore, at, encode, every_adapter, spec, stdout};
use crate::store::{Bounds, Order, Part};

every_adapter!(
    jobs_go_by_their_age,
    jobs_go_by_their_number,
    what_has_not_ended_stays,
    a_log_leaves_a_gap_and_the_job,
    logs_and_artifacts_go_by_their_bytes,
    logs_and_artifacts_go_by_their_age,
    a_job_that_is_run_again_in_between_keeps_all,
);

const NONE: Bounds = Bounds { until: None, most: None };

/// A job that wrote so many bytes, and ended at that second.
async fn ended(store: &TestStore, bytes: usize, second: i64) -> Held {
    let held = store.submit_and_claim(spec("true")).await;
    if bytes > 0 {
        let frames = encode(&[stdout(&"x".repeat(bytes))]);
        store.append_log(held.append(0, frames)).await.unwrap();
    }
    store.event(held.job.id, held.ended(Outcome::Exited { code: 0 }), at(second)).await;
    held
}

async fn prune(store: &TestStore, part: Part, bounds: Bounds) -> Vec<i64> {
    let jobs = store.prunable(part, bounds, 100).await.unwrap();
    let ids = jobs.iter().map(|id| id.0).collect();
    if !jobs.is_empty() {
        let count = store.prune(part, jobs.clone(), at(1000).now).await.unwrap();
        assert_eq!(count, jobs.len() as u64);
    }
    assert!(store.prunable(part, bounds, 100).await.unwrap().is_empty(), "it is done");
    ids
}

async fn jobs_go_by_their_age(store: TestStore) {
    for second in [20, 10, 30] {
        ended(&store, 1, second).await;
    }
    let until = |second| Bounds { until: Some(at(second).now), most: None };
    assert!(store.prunable(Part::Jobs, NONE, 9).await.unwrap().is_empty());
    assert!(prune(&store, Part::Jobs, until(10)).await.is_empty());
    let first = store.prunable(Part::Jobs, until(30), 1).await.unwrap();
    assert_eq!(first, [JobId(2)], "what ended first goes first");
    assert_eq!(prune(&store, Part::Jobs, until(30)).await, [2, 1]);
    assert_eq!(store.job(JobId(1)).await.unwrap(), None);
    assert!(store.job(JobId(3)).await.unwrap().is_some());
    assert!(store.attempts(JobId(1)).await.unwrap().is_empty(), "its attempts go along");
}

async fn jobs_go_by_their_number(store: TestStore) {
    for second in [20, 10, 30, 40] {
        ended(&store, 0, second).await;
    }
    let most = |most| Bounds { until: None, most: Some(most) };
    assert!(prune(&store, Part::Jobs, most(4)).await.is_empty());
    assert_eq!(prune(&store, Part::Jobs, most(2)).await, [2, 1]);
    assert_eq!(prune(&store, Part::Jobs, most(0)).await, [3, 4]);
}

async fn what_has_not_ended_stays(store: TestStore) {
    store.submit(spec("true")).await;
    let held = store.claim_one("worker", at(1)).await;
    store.submit(spec("true")).await;
    let all = Bounds { until: Some(at(9000).now), most: Some(0) };
    for part in [Part::Jobs, Part::Logs, Part::Artifacts] {
        assert!(store.prunable(part, all, 9).await.unwrap().is_empty());
        // Not even where somebody names it.
        assert_eq!(store.prune(part, vec![held.job.id], at(9000).now).await.unwrap(), 0);
    }
    assert!(store.job(held.job.id).await.unwrap().is_some());
}

async fn a_log_leaves_a_gap_and_the_job(store: TestStore) {
    let held = ended(&store, 50, 10).await;
    let id = held.job.id;
    assert_eq!(prune(&store, Part::Logs, Bounds { most: Some(49), ..NONE }).await, [id.0]);
    let first = AttemptNo(1);
    let chunks = store.log_chunks(id, first, 0..u64::MAX, Order::Ascending, 9).await.unwrap();
    let frames: Vec<_> = Frames::new(chunks[0].frames.clone()).map(Result::unwrap).collect();
    assert!(matches!(&frames[..], [frame] if frame.body == Body::Gap(50)), "{frames:?}");
    let head = store.log_head(id, first).await.unwrap().unwrap();
    assert_eq!((head.output, head.gap), (0, 50));
    assert_eq!(head.offset, chunks[0].frames.len() as u64, "whoever reads on finds the end");
    assert_eq!(chunks.len(), 1);
    assert_eq!(store.job(id).await.unwrap().unwrap().log, head);
}

/// A job that left a file of so many bytes.
async fn with_file(store: &TestStore, bytes: usize, second: i64) -> JobId {
    let mut wanted = spec("true");
    wanted.artifacts = vec!["a".to_owned()];
    let held = store.submit_and_claim(wanted).await;
    let content = vec![b'x'; bytes];
    let file = Artifact {
        path: "a".to_owned(),
        bytes: bytes as u64,
        sha256: hex::encode(Sha256::digest(&content)),
        executable: false,
    };
    store.append_artifact(held.piece("a", 0, &content)).await.unwrap();
    let end = held.ended_with(Outcome::Exited { code: 0 }, &[file]);
    assert!(store.event(held.job.id, end, at(second)).await.result.is_ok());
    held.job.id
}

async fn logs_and_artifacts_go_by_their_bytes(store: TestStore) {
    for second in [10, 20, 30] {
        ended(&store, 100, second).await;
    }
    let most = |most| Bounds { until: None, most: Some(most) };
    assert!(prune(&store, Part::Logs, most(300)).await.is_empty());
    assert_eq!(prune(&store, Part::Logs, most(299)).await, [1]);
    assert_eq!(prune(&store, Part::Logs, most(99)).await, [2, 3]);
    let (first, second) = (with_file(&store, 10, 40).await, with_file(&store, 10, 50).await);
    let pruned = prune(&store, Part::Artifacts, most(19)).await;
    assert_eq!(pruned, [first.0]);
    assert!(store.artifacts(first, AttemptNo(1), None).await.unwrap().is_empty());
    assert_eq!(store.artifacts(second, AttemptNo(1), None).await.unwrap().len(), 1);
}

async fn logs_and_artifacts_go_by_their_age(store: TestStore) {
    let until = |second| Bounds { until: Some(at(second).now), most: None };
    for second in [30, 10, 20] {
        ended(&store, 100, second).await;
    }
    let (late, early) = (with_file(&store, 10, 50).await, with_file(&store, 10, 40).await);
    for part in [Part::Logs, Part::Artifacts] {
        assert!(prune(&store, part, until(10)).await.is_empty());
    }
    assert_eq!(prune(&store, Part::Logs, until(30)).await, [2, 3]);
    let output = async |id| {
        let head = store.log_head(JobId(id), AttemptNo(1)).await.unwrap().unwrap();
        (head.output, head.gap)
    };
    assert_eq!([output(1).await, output(2).await], [(100, 0), (0, 100)]);
    assert_eq!(prune(&store, Part::Artifacts, until(50)).await, [early.0]);
    let files = async |id| store.artifacts(id, AttemptNo(1), None).await.unwrap().len();
    assert_eq!([files(early).await, files(late).await], [0, 1]);
    for id in 1..=5 {
        assert!(store.job(JobId(id)).await.unwrap().is_some(), "the jobs stay");
    }
}

async fn a_job_that_is_run_again_in_between_keeps_all(store: TestStore) {
    let held = ended(&store, 10, 10).await;
    let all = Bounds { most: Some(0), ..NONE };
    for part in [Part::Logs, Part::Jobs] {
        assert_eq!(store.prunable(part, all, 9).await.unwrap(), [held.job.id]);
    }
    store.event(held.job.id, crate::domain::JobEvent::RetryRequested, at(11)).await;
    for part in [Part::Logs, Part::Jobs] {
        assert_eq!(store.prune(part, vec![held.job.id], at(12).now).await.unwrap(), 0);
    }
    let head = store.log_head(held.job.id, AttemptNo(1)).await.unwrap().unwrap();
    assert_eq!(head.output, 10);
}

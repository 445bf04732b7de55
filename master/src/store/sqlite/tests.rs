//! What is SQLite's own; what every adapter must do is in `conformance/`.

use bytes::BytesMut;
use jiff::Timestamp;
use orchestra_contracts::{
    AttemptNo, JobSpec, JobStatus, LeaseToken, Outcome, Span,
    frame::{Body, Frame, Stream},
    worker::{LogEnd, LogHead},
};

use super::SqliteStore;
use crate::{
    domain::{JobEvent, Proof, RetryPolicy, Rules, Tail},
    store::{Appended, Claim, JobFilter, LeaseTerms, LogAppend, Order, Store as _},
};

fn rules(millis: i64) -> Rules {
    let now = Timestamp::from_millisecond(millis).unwrap();
    Rules { now, retry: RetryPolicy::default(), jitter: 0.5 }
}

#[tokio::test]
async fn a_job_goes_all_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/jobs.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let jobs =
        store.insert(vec![JobSpec::new("one"), JobSpec::new("two")], rules(1).now).await.unwrap();
    assert_eq!(store.job(jobs[1].id).await.unwrap().as_ref(), Some(&jobs[1]));
    let claim = Claim {
        worker: "w".parse().unwrap(),
        queues: vec!["default".into()],
        tokens: vec![LeaseToken::new("t")],
        terms: LeaseTerms::Renewed(Span::from_secs(60)),
        request_id: Some("r".into()),
    };
    let claimed = store.claim(vec![claim.clone()], rules(2)).await.unwrap();
    assert_eq!(claimed[0].len(), 1);
    let job = &claimed[0][0];
    assert_eq!(job.id, jobs[0].id);
    let again = store.claim(vec![claim], rules(3)).await.unwrap();
    assert_eq!(again, claimed);
    assert_eq!(store.job(job.id).await.unwrap().as_ref(), Some(job));
    let proof = Proof {
        worker: "w".parse().unwrap(),
        token: LeaseToken::new("t"),
        attempt: Some(AttemptNo(1)),
    };
    let event = JobEvent::Started { proof: proof.clone() };
    let applied = store.apply(job.id, event, rules(4)).await.unwrap().unwrap();
    applied.result.unwrap();
    let mut frames = BytesMut::new();
    Frame { time: 1, body: Body::Bytes(Stream::Stdout, "hello\n".into()) }.encode(&mut frames);
    let frames = frames.freeze();
    let append = LogAppend {
        job: job.id,
        attempt: AttemptNo(1),
        proof: proof.clone(),
        offset: 0,
        frames: frames.clone(),
    };
    let head = LogHead { offset: 19, output: 6, gap: 0, crc32: crc32fast::hash(b"hello\n") };
    assert_eq!(store.append_log(append.clone()).await.unwrap(), Appended::Stored(head));
    assert_eq!(store.append_log(append).await.unwrap(), Appended::Stored(head));
    let chunks =
        store.log_chunks(job.id, AttemptNo(1), 0..u64::MAX, Order::Ascending, 9).await.unwrap();
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].frames, frames);
    let event = JobEvent::Ended {
        proof,
        outcome: Outcome::Exited { code: 0 },
        usage: None,
        log: Some(LogEnd { offset: 19, crc32: head.crc32 }),
        tail: Some(Tail { output: "hello\0\n".into(), ..Tail::default() }),
    };
    let applied = store.apply(job.id, event, rules(5)).await.unwrap().unwrap();
    applied.result.unwrap();
    assert_eq!(applied.job.status(), JobStatus::Completed);
    store.close().await;
    let store = SqliteStore::open(&path).await.unwrap();
    let all = store.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    assert_eq!(all, [applied.job, jobs[1].clone()]);
    store.check().await.unwrap();
}

//! What comes along with a report: the rest of a log goes in with it, once, and the claims of a round come
//! behind all that it ends.

use bytes::Bytes;
use orchestra_contracts::{
    AttemptNo, JobId, JobSpec, JobStatus, Outcome,
    frame::HEADER,
    worker::{LogEnd, LogHead},
};

use super::{Held, TestStore, at, claim, encode, every_adapter, ids, spec, stdout};
use crate::{
    domain::{JobEvent, Refusal},
    store::{BatchReply, BatchRequest, Order, Report},
};

every_adapter!(
    a_rest_and_the_end_go_in_together,
    the_same_report_again_appends_nothing,
    of_a_rest_only_what_is_new_is_stored,
    a_rest_that_leaves_a_hole_ends_nothing,
    a_rest_under_a_lost_lease_is_not_stored,
    claims_come_behind_what_ends,
    each_in_a_round_is_answered_for_itself,
);

const OK: Outcome = Outcome::Exited { code: 0 };

fn whole(frames: &Bytes, text: &str) -> LogHead {
    let (offset, output) = (frames.len() as u64, text.len() as u64);
    LogHead { offset, output, gap: 0, crc32: crc32fast::hash(text.as_bytes()) }
}

/// An end with these frames at this offset, of a log that then has this head.
fn report(held: &Held, offset: u64, frames: Bytes, head: LogHead) -> Report {
    let mut event = held.ended(OK);
    if let JobEvent::Ended { log, .. } = &mut event {
        *log = Some(LogEnd { offset: head.offset, crc32: head.crc32 });
    }
    Report { job: held.job.id, event, rest: Some(held.append(offset, frames)) }
}

async fn stored(store: &TestStore, held: &Held) -> Vec<u8> {
    let (id, attempt) = (held.job.id, AttemptNo(held.job.attempts));
    let chunks = store.log_chunks(id, attempt, 0..u64::MAX, Order::Ascending, 100).await.unwrap();
    chunks.iter().flat_map(|chunk| chunk.frames.to_vec()).collect()
}

async fn a_rest_and_the_end_go_in_together(store: TestStore) {
    let held = store.submit_and_claim(spec("echo hello")).await;
    let frames = encode(&[stdout("hel"), stdout("lo")]);
    let head = whole(&frames, "hello");
    let applied = store.report(report(&held, 0, frames.clone(), head), at(2)).await.unwrap();
    let applied = applied.expect("there is such a job");
    assert!(applied.result.unwrap().attempt_ended.is_some());
    assert_eq!((applied.job.status(), applied.job.log), (JobStatus::Completed, head));
    assert_eq!(store.read(held.job.id).await.log, head);
    assert_eq!(stored(&store, &held).await, frames);
    let none = Report { job: JobId(99), rest: None, ..report(&held, 0, frames, head) };
    assert!(store.report(none, at(2)).await.unwrap().is_none());
}

/// Its answer was lost.
async fn the_same_report_again_appends_nothing(mut store: TestStore) {
    let held = store.submit_and_claim(spec("echo hello")).await;
    let frames = encode(&[stdout("hello")]);
    let head = whole(&frames, "hello");
    for second in 2..5 {
        let again = report(&held, 0, frames.clone(), head);
        let applied = store.report(again, at(second)).await.unwrap().unwrap();
        assert_eq!(applied.result.unwrap().attempt_ended.is_some(), second == 2);
        assert_eq!(stored(&store, &held).await, frames);
        store.reopen().await;
    }
}

/// It was sent before, in other pieces.
async fn of_a_rest_only_what_is_new_is_stored(store: TestStore) {
    let held = store.submit_and_claim(spec("echo")).await;
    let all = encode(&[stdout("one"), stdout("two"), stdout("three")]);
    let (first, second) = ((HEADER + 3) as u64, 2 * (HEADER + 3) as u64);
    store.append_log(held.append(0, all.slice(..second as usize))).await.unwrap();
    let head = whole(&all, "onetwothree");
    let last = report(&held, first, all.slice(first as usize..), head);
    let applied = store.report(last, at(2)).await.unwrap().unwrap();
    assert!(applied.result.is_ok(), "{applied:?}");
    assert_eq!(stored(&store, &held).await, all);
}

async fn a_rest_that_leaves_a_hole_ends_nothing(store: TestStore) {
    let held = store.submit_and_claim(spec("echo")).await;
    let all = encode(&[stdout("one"), stdout("two")]);
    let edge = HEADER + 3;
    let head = whole(&all, "onetwo");
    let last = || report(&held, edge as u64, all.slice(edge..), head);
    let refused = store.report(last(), at(2)).await.unwrap().unwrap();
    assert_eq!(refused.result.unwrap_err(), Refusal::LogIncomplete(LogHead::default()));
    assert_eq!(store.read(held.job.id).await.status(), JobStatus::Assigned);
    store.append_log(held.append(0, all.slice(..edge))).await.unwrap();
    assert!(store.report(last(), at(3)).await.unwrap().unwrap().result.is_ok());
    assert_eq!(stored(&store, &held).await, all);
}

async fn a_rest_under_a_lost_lease_is_not_stored(store: TestStore) {
    let first = store.submit_and_claim(JobSpec { max_retries: 1, ..spec("false") }).await;
    store.event(first.job.id, first.ended(Outcome::Exited { code: 1 }), at(2)).await;
    let second = store.claim_one("other", at(9)).await;
    let frames = encode(&[stdout("late")]);
    let late = report(&first, 0, frames.clone(), whole(&frames, "late"));
    let refused = store.report(late, at(9)).await.unwrap().unwrap();
    assert_eq!(refused.result.unwrap_err(), Refusal::LeaseLost);
    for held in [&first, &second] {
        assert!(stored(&store, held).await.is_empty());
    }
}

fn batch(reports: Vec<Report>, claims: &[&str]) -> BatchRequest {
    let claims = claims.iter().map(|name| claim(name, 1)).collect();
    BatchRequest { submissions: Vec::new(), reports, claims, rules: at(3) }
}

/// The job that waits for the one that ends is there for the claim that comes with the end, and the claim
/// that stands before that goes first.
async fn claims_come_behind_what_ends(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    super::waiting::submit(&store, &[super::waiting::after_ok(&[held.job.id.0])]).await;
    store.submit(spec("true")).await;
    let nobody = store.share().batch(batch(Vec::new(), &["a"])).await.claimed.unwrap();
    assert_eq!(ids(&nobody[0]), [3], "the other still waits");
    store.submit(spec("true")).await;
    let frames = encode(&[stdout("x")]);
    let end = report(&held, 0, frames.clone(), whole(&frames, "x"));
    let BatchReply { reported, claimed, .. } =
        store.batch(batch(vec![end], &["b", "c", "d"])).await;
    let applied = reported.into_iter().next().unwrap().unwrap().unwrap();
    assert_eq!((applied.job.status(), applied.along), (JobStatus::Completed, vec![JobId(2)]));
    let got: Vec<_> = claimed.unwrap().iter().map(|jobs| ids(jobs)).collect();
    assert_eq!(got, [vec![2], vec![4], vec![]]);
}

async fn each_in_a_round_is_answered_for_itself(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    let other = store.submit_and_claim(spec("true")).await;
    let frames = encode(&[stdout("x")]);
    let head = whole(&frames, "x");
    let reports = vec![
        report(&held, 7, frames.clone(), head),
        Report { job: JobId(99), rest: None, ..report(&held, 0, frames.clone(), head) },
        report(&other, 0, frames, head),
    ];
    let BatchReply { submitted, reported, claimed } = store.batch(batch(reports, &["a"])).await;
    assert!(submitted.is_empty());
    assert_eq!(claimed.unwrap(), [vec![]]);
    let results: Vec<_> = reported.into_iter().map(Result::unwrap).collect();
    let [Some(hole), None, Some(ended)] = &results[..] else { panic!("{results:?}") };
    assert!(matches!(hole.result, Err(Refusal::LogIncomplete(_))), "{hole:?}");
    assert_eq!(ended.job.status(), JobStatus::Completed);
}

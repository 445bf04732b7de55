//! What the machine decides is what is kept, with every guard of a write.

use orchestra_contracts::{
    AttemptNo, JobId, JobSpec, JobStatus, LeaseToken, Outcome, Ran, Size, Usage,
    worker::{LogEnd, LogHead},
};
use tokio::task::JoinSet;

use super::{Held, TestStore, at, claim, encode, every_adapter, spec, stdout, worker};
use crate::{
    domain::{AttemptResults, JobEvent, Proof, Refusal, Tail},
    store::{Appended, LogAppend, Order},
};

every_adapter!(
    a_job_is_read_back_as_it_became,
    every_write_is_fenced,
    one_report_of_many_moves_the_job,
    an_end_waits_for_the_log,
    attempts_tell_the_whole_story,
    what_an_attempt_was_made_of_stays_with_it,
    a_finished_job_can_be_run_again,
    a_cancelled_job_is_not_claimed,
    deleting_takes_everything_along,
    a_held_job_is_deleted_when_its_attempt_ends,
    what_does_not_exist_is_none,
    an_id_is_never_given_twice,
);

async fn a_job_is_read_back_as_it_became(store: TestStore) {
    let held = store.submit_and_claim(JobSpec { max_retries: 1, ..spec("false") }).await;
    let id = held.job.id;
    let end = JobEvent::Ended {
        proof: held.proof(),
        outcome: Outcome::Exited { code: 7 },
        usage: Some(Usage { cpu_ms: 1, peak_memory: 2, wall_ms: 3, ..Usage::default() }),
        log: None,
        tail: Some(Tail {
            output: "NUL \0, ü, \u{2028} \"\\".into(),
            error: "\0".into(),
            truncated: true,
        }),
        results: AttemptResults::default(),
    };
    let steps = [
        (held.started(), JobStatus::Running),
        (end, JobStatus::Pending),
        (JobEvent::CancelRequested, JobStatus::Cancelled),
        (JobEvent::RetryRequested, JobStatus::Pending),
    ];
    for (second, (event, status)) in (2..).zip(steps) {
        let applied = store.event(id, event, at(second)).await;
        assert!(applied.result.is_ok(), "{applied:?}");
        assert_eq!(applied.job.status(), status);
        assert_eq!(store.read(id).await, applied.job);
    }
    let finish = store.read(id).await.finish().cloned().unwrap();
    assert_eq!(finish.tail.unwrap().output, "NUL \0, ü, \u{2028} \"\\");
}

async fn what_an_attempt_was_made_of_stays_with_it(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    let ran = Ran {
        image: "a:1".to_owned(),
        image_id: "sha256:1".to_owned(),
        digest: None,
        user: "7:8".to_owned(),
        cpus: 0.5,
        memory: Size::mib(512),
        pids: 9,
        tmp: Size::mib(1),
        file_size: Size::mib(1),
        files: Some("/a 'b".to_owned()),
        runtime: None,
        env: [("HOME".to_owned(), "/tmp".to_owned())].into(),
    };
    let told = JobEvent::Started { proof: held.proof(), ran: Some(Box::new(ran.clone())) };
    // The same again, without it, and the end: none of them takes it away.
    for event in [told, held.started(), held.ended(Outcome::Exited { code: 0 })] {
        store.event(held.job.id, event, at(2)).await.result.unwrap();
        let attempts = store.attempts(held.job.id).await.unwrap();
        assert_eq!(attempts[0].ran.as_ref(), Some(&ran));
    }
    // Of a short one it comes with the end.
    let short = store.submit_and_claim(spec("true")).await;
    let JobEvent::Ended { proof, outcome, usage, log, tail, .. } =
        short.ended(Outcome::Exited { code: 0 })
    else {
        panic!("it is an end");
    };
    let results = AttemptResults { ran: Some(Box::new(ran.clone())), ..AttemptResults::default() };
    let event = JobEvent::Ended { proof, outcome, usage, log, tail, results };
    store.event(short.job.id, event, at(2)).await.result.unwrap();
    assert_eq!(store.attempts(short.job.id).await.unwrap()[0].ran.as_ref(), Some(&ran));
}

async fn every_write_is_fenced(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    let right = held.proof();
    let wrong = [
        Proof { worker: worker("other"), ..right.clone() },
        Proof { token: LeaseToken::new("other"), ..right.clone() },
        Proof { attempt: Some(AttemptNo(2)), ..right.clone() },
    ];
    for proof in wrong {
        let start = JobEvent::Started { proof: proof.clone(), ran: None };
        let end = JobEvent::Ended {
            proof: proof.clone(),
            outcome: Outcome::Exited { code: 0 },
            usage: None,
            log: None,
            tail: None,
            results: AttemptResults::default(),
        };
        for event in [start, end] {
            let applied = store.event(held.job.id, event, at(2)).await;
            assert_eq!(applied.result, Err(Refusal::LeaseLost), "{proof:?}");
        }
        let append = held.append(0, encode(&[stdout("x")]));
        let append = LogAppend { proof, ..append };
        assert_eq!(store.append_log(append).await.unwrap(), Appended::LeaseLost);
    }
    let other_attempt = LogAppend {
        attempt: AttemptNo(2),
        proof: Proof { attempt: None, ..right },
        ..held.append(0, encode(&[stdout("x")]))
    };
    assert_eq!(store.append_log(other_attempt).await.unwrap(), Appended::LeaseLost);
    assert_eq!(store.read(held.job.id).await, held.job, "nothing has moved");
}

async fn one_report_of_many_moves_the_job(store: TestStore) {
    let held = store.submit_and_claim(JobSpec { max_retries: 9, ..spec("false") }).await;
    let mut reports = JoinSet::new();
    for _ in 0..50 {
        let (store, event) = (store.share(), held.ended(Outcome::TimedOut));
        let id = held.job.id;
        reports.spawn(async move { store.apply(id, event, at(2)).await.unwrap().unwrap() });
    }
    let answers = reports.join_all().await;
    let moved = answers.iter().filter(|applied| applied.result.as_ref().unwrap().claimable).count();
    assert_eq!(moved, 1);
    assert_eq!(store.read(held.job.id).await.retries, 1);
}

async fn an_end_waits_for_the_log(store: TestStore) {
    let held = store.submit_and_claim(spec("echo hello")).await;
    let frames = encode(&[stdout("hello\n")]);
    let log = LogEnd { offset: frames.len() as u64, crc32: crc32fast::hash(b"hello\n") };
    let end = || JobEvent::Ended {
        proof: held.proof(),
        outcome: Outcome::Exited { code: 0 },
        usage: None,
        log: Some(log),
        tail: None,
        results: AttemptResults::default(),
    };
    let refused = store.event(held.job.id, end(), at(2)).await;
    assert_eq!(refused.result, Err(Refusal::LogIncomplete(LogHead::default())));
    store.append_log(held.append(0, frames)).await.unwrap();
    let applied = store.event(held.job.id, end(), at(3)).await;
    assert_eq!(applied.job.status(), JobStatus::Completed);
    assert_eq!(applied.job.log.output, 6);
}

async fn attempts_tell_the_whole_story(store: TestStore) {
    let first = store.submit_and_claim(JobSpec { max_retries: 1, ..spec("false") }).await;
    let id = first.job.id;
    store.event(id, first.started(), at(2)).await;
    store.append_log(first.append(0, encode(&[stdout("abc")]))).await.unwrap();
    store.event(id, first.ended(Outcome::Exited { code: 3 }), at(3)).await;
    let second = store.claim_one("other", at(5)).await;
    let attempts = store.attempts(id).await.unwrap();
    assert_eq!(attempts.len(), 2);
    let one = &attempts[0];
    assert_eq!((one.number, one.worker.as_str(), one.log_bytes), (AttemptNo(1), "worker", 3));
    assert_eq!(
        (one.claimed_at, one.started_at, one.finished_at),
        (at(1).now, Some(at(2).now), Some(at(3).now))
    );
    assert_eq!((one.outcome.clone(), one.exit_code), (Some(Outcome::Exited { code: 3 }), Some(3)));
    assert_eq!(one.reason.as_deref(), Some("exited with code 3"));
    let two = &attempts[1];
    assert_eq!((two.number, two.worker.as_str(), two.log_bytes), (AttemptNo(2), "other", 0));
    assert_eq!((two.claimed_at, two.started_at, two.outcome.clone()), (at(5).now, None, None));
    // The end of an attempt leaves those before it alone.
    store.event(id, second.ended(Outcome::Lost), at(6)).await;
    assert_eq!(store.attempts(id).await.unwrap()[0], *one);
}

async fn a_finished_job_can_be_run_again(store: TestStore) {
    let held = store.submit_and_claim(spec("false")).await;
    store.event(held.job.id, held.ended(Outcome::Exited { code: 1 }), at(2)).await;
    assert_eq!(store.claim(vec![claim("b", 1)], at(3)).await.unwrap(), [vec![]]);
    let applied = store.event(held.job.id, JobEvent::RetryRequested, at(3)).await;
    assert!(applied.result.unwrap().claimable);
    let again = store.claim_one("b", at(3)).await;
    assert_eq!((again.job.id, again.job.attempts), (held.job.id, 2));
}

async fn a_cancelled_job_is_not_claimed(store: TestStore) {
    let job = store.submit(spec("true")).await;
    let applied = store.event(job.id, JobEvent::CancelRequested, at(1)).await;
    assert_eq!(applied.job.status(), JobStatus::Cancelled);
    assert_eq!(store.read(job.id).await, applied.job);
    assert_eq!(store.claim(vec![claim("a", 1)], at(2)).await.unwrap(), [vec![]]);
    assert_eq!(store.attempts(job.id).await.unwrap(), []);
}

async fn deleting_takes_everything_along(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    let other = store.submit_and_claim(spec("true")).await;
    for job in [&held, &other] {
        store.append_log(job.append(0, encode(&[stdout("x")]))).await.unwrap();
    }
    let id = held.job.id;
    let ended = store.event(id, held.ended(Outcome::Exited { code: 0 }), at(2)).await;
    let deleted = store.event(id, JobEvent::DeleteRequested, at(3)).await;
    assert_eq!(deleted.job, ended.job, "as it was");
    assert!(deleted.result.unwrap().delete);
    assert_nothing_left(&store, &held).await;
    assert!(store.log_head(other.job.id, AttemptNo(1)).await.unwrap().is_some());
}

async fn assert_nothing_left(store: &TestStore, held: &Held) {
    let id = held.job.id;
    let attempt = AttemptNo(1);
    assert_eq!(store.job(id).await.unwrap(), None);
    assert_eq!(store.attempts(id).await.unwrap(), []);
    assert_eq!(store.log_head(id, attempt).await.unwrap(), None);
    let order = Order::Ascending;
    assert_eq!(store.log_chunks(id, attempt, 0..u64::MAX, order, 9).await.unwrap(), []);
    assert!(store.apply(id, JobEvent::DeleteRequested, at(9)).await.unwrap().is_none());
    let append = held.append(0, encode(&[stdout("x")]));
    assert_eq!(store.append_log(append).await.unwrap(), Appended::NoSuchJob);
}

async fn a_held_job_is_deleted_when_its_attempt_ends(store: TestStore) {
    let held = store.submit_and_claim(spec("sleep 100")).await;
    let id = held.job.id;
    let asked = store.event(id, JobEvent::DeleteRequested, at(2)).await;
    assert!(asked.result.unwrap().stop_worker);
    assert_eq!(store.read(id).await, asked.job);
    let ended = store.event(id, held.ended(Outcome::Cancelled), at(3)).await;
    assert!(ended.result.unwrap().delete);
    assert_nothing_left(&store, &held).await;
}

async fn what_does_not_exist_is_none(store: TestStore) {
    let id = JobId(77);
    assert_eq!(store.job(id).await.unwrap(), None);
    assert!(store.apply(id, JobEvent::CancelRequested, at(1)).await.unwrap().is_none());
    assert_eq!(store.attempts(id).await.unwrap(), []);
    let job = store.submit(spec("true")).await;
    assert_eq!(store.log_head(job.id, AttemptNo(1)).await.unwrap(), None);
}

async fn an_id_is_never_given_twice(mut store: TestStore) {
    let job = store.submit(spec("true")).await;
    store.event(job.id, JobEvent::DeleteRequested, at(1)).await;
    store.reopen().await;
    assert_eq!(store.submit(spec("true")).await.id, JobId(job.id.0 + 1));
}

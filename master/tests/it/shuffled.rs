//! The calls of two attempts, repeated and in any order, checked against a model: repeated and late
//! calls have no second effect.

use orchestra_contracts::worker::{Claimed, LogHead};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::harness::{BACKOFF, LEASE, Master, Reply, encode, out};

/// The output of each attempt, in pieces.
const PIECES: [&str; 2] = ["one\n", "two\n"];

#[derive(Clone, Copy, Debug)]
enum Call {
    Start(usize),
    /// A piece of the log, by its number.
    Append(usize, usize),
    Beat(usize),
    End(usize),
    /// The worker is silent for a lease, and the second attempt begins.
    Lose,
}

/// The order in which two attempts make their calls if nothing goes wrong.
const LEGAL: [Call; 11] = [
    Call::Start(0),
    Call::Append(0, 0),
    Call::Append(0, 1),
    Call::Beat(0),
    Call::Lose,
    Call::Start(1),
    Call::Append(1, 0),
    Call::Beat(1),
    Call::Append(1, 1),
    Call::End(1),
    Call::End(0),
];

/// From almost ordered to random, with some calls left out and some repeated.
fn calls() -> impl Strategy<Value = Vec<Call>> {
    let times = vec(0..3_usize, LEGAL.len());
    (times, 0..40_usize).prop_flat_map(|(times, disorder)| {
        let calls = LEGAL.iter().enumerate().zip(times);
        let calls: Vec<_> =
            calls.flat_map(|((place, call), times)| vec![(4 * place, *call); times]).collect();
        vec(0..=disorder, calls.len()).prop_map(move |late| {
            let mut calls: Vec<_> =
                calls.iter().zip(late).map(|((place, call), late)| (place + late, *call)).collect();
            calls.sort_by_key(|(place, _)| *place);
            calls.into_iter().map(|(_, call)| call).collect()
        })
    })
}

/// The expected state.
#[derive(Debug, Default)]
struct Model {
    /// The attempt that holds the job; `None` after its end.
    holder: Option<usize>,
    running: bool,
    ended_by: Option<usize>,
    /// How many pieces of each attempt's log are stored.
    stored: [usize; 2],
    stale: [u64; 3],
}

impl Model {
    /// Applies the call; returns the last segment of the expected problem's type, or an empty string.
    fn call(&mut self, call: Call) -> &'static str {
        match call {
            Call::Start(n) if self.holder == Some(n) => {
                self.running = true;
                ""
            }
            Call::Append(n, piece) if self.holder == Some(n) => {
                if piece > self.stored[n] {
                    return "log-offset";
                }
                self.stored[n] = self.stored[n].max(piece + 1);
                ""
            }
            Call::End(n) if self.holder == Some(n) => {
                if self.stored[n] < PIECES.len() {
                    return "log-incomplete";
                }
                (self.holder, self.ended_by) = (None, Some(n));
                ""
            }
            Call::End(n) if self.ended_by == Some(n) => "",
            Call::Beat(n) => {
                self.stale[0] += u64::from(self.holder != Some(n));
                ""
            }
            Call::Append(..) => {
                self.stale[1] += 1;
                "lease-lost"
            }
            Call::Start(_) | Call::End(_) => {
                self.stale[2] += 1;
                "lease-lost"
            }
            Call::Lose => {
                if self.holder == Some(0) {
                    (self.holder, self.running) = (Some(1), false);
                }
                ""
            }
        }
    }

    fn status(&self) -> &'static str {
        match (self.ended_by, self.running) {
            (Some(_), _) => "Completed",
            (None, true) => "Running",
            (None, false) => "Assigned",
        }
    }
}

/// One job on the real service, in its own queue.
struct Real<'a> {
    master: &'a Master,
    queue: String,
    attempts: Vec<Claimed>,
}

impl<'a> Real<'a> {
    async fn new(master: &'a Master, number: u64) -> Self {
        let queue = format!("queue-{number}");
        master.submit(json!({"command": "true", "queue": queue})).await;
        let mut real = Self { master, queue, attempts: Vec::new() };
        real.claim().await;
        real
    }

    async fn claim(&mut self) {
        let terms = json!({"worker": "w", "queues": [self.queue]});
        let reply = self.master.post("/api/job/claim", terms).await;
        self.attempts.push(reply.read::<Vec<Claimed>>().remove(0));
    }

    /// The attempt's lease, or an invented one as long as there is none.
    fn lease(&self, attempt: usize) -> Claimed {
        let mut claimed = self.attempts[0].clone();
        claimed.lease.attempt.0 = attempt as u32 + 1;
        claimed.lease.token = orchestra_contracts::LeaseToken::new("made up");
        self.attempts.get(attempt).cloned().unwrap_or(claimed)
    }

    async fn call(&mut self, call: Call, lose: bool) -> String {
        let reply = match call {
            Call::Start(n) => self.report(n, json!({"status": "Running"})).await,
            Call::Append(n, piece) => {
                let frames = encode(&[out(PIECES[piece])]);
                let offset = (piece * frames.len()) as u64;
                self.master.upload(&self.lease(n), "w", offset, frames).await
            }
            Call::End(n) => {
                let text = PIECES.concat();
                let offset = PIECES.len() * encode(&[out(PIECES[0])]).len();
                let log = json!({"offset": offset, "crc32": crc32fast::hash(text.as_bytes())});
                self.report(n, json!({"status": "Completed", "log": log})).await
            }
            Call::Beat(n) => {
                let Claimed { job, lease } = self.lease(n);
                let lease = json!({"job": job.id, "attempt": lease.attempt, "token": lease.token});
                let beat = json!({"leases": [lease]});
                self.master.post("/api/worker/w/heartbeat", beat).await
            }
            Call::Lose if lose => {
                self.master.clock.advance(LEASE);
                self.master.service.expire_leases().await.unwrap();
                self.master.clock.advance(BACKOFF);
                self.claim().await;
                return String::new();
            }
            Call::Lose => return String::new(),
        };
        if reply.status == 200 { String::new() } else { reply.problem() }
    }

    async fn report(&self, attempt: usize, more: Value) -> Reply {
        self.master.report(&self.lease(attempt), "w", more).await
    }

    async fn stale(&self) -> [u64; 3] {
        let stale = &self.master.get("/readyz").await.json()["stale"];
        ["heartbeats", "logs", "updates"].map(|kind| stale[kind].as_u64().unwrap())
    }
}

async fn behaves(master: &Master, number: u64, calls: &[Call]) {
    let mut real = Real::new(master, number).await;
    let mut model = Model { holder: Some(0), ..Model::default() };
    let before = real.stale().await;
    for call in calls {
        let lose = model.holder == Some(0);
        let expected = model.call(*call);
        assert_eq!(real.call(*call, lose).await, expected, "{call:?} of {calls:?}");
        let id = real.attempts[0].job.id.0;
        assert_eq!(master.job(id).await["status"], model.status(), "{call:?} of {calls:?}");
        for attempt in 0..real.attempts.len() {
            let path = format!("/api/job/{id}/attempts/{}/log", attempt + 1);
            let head: LogHead = master.get(&path).await.read();
            let text = PIECES[..model.stored[attempt]].concat();
            let stored = (text.len() as u64, crc32fast::hash(text.as_bytes()));
            assert_eq!((head.output, head.crc32), stored, "{call:?} of {calls:?}");
        }
    }
    let stale = real.stale().await;
    let counted = [0, 1, 2].map(|kind| stale[kind] - before[kind]);
    assert_eq!(counted, model.stale, "{calls:?}");
}

#[test]
fn calls_that_come_twice_late_or_in_any_order_have_one_effect() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let master = runtime.block_on(Master::start());
    // Each case has its own queue, so what it leaves behind does not affect the others.
    let number = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
    let tried = TestRunner::new(config).run(&calls(), |calls| {
        number.set(number.get() + 1);
        runtime.block_on(behaves(&master, number.get(), &calls));
        Ok(())
    });
    tried.unwrap();
}

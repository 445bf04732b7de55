//! Races: many claimers over real connections, and requests to end a job while it runs.

use std::{cell::Cell, collections::HashSet};

use orchestra_contracts::worker::Claimed;
use orchestra_master::http;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use crate::harness::{Master, soon};

const JOBS: usize = 200;
const CLAIMERS: usize = 16;

/// Claims until no job is left; half of the claimers use bare names.
async fn claim_all(url: String, client: reqwest::Client, claimer: usize) -> Vec<i64> {
    let name = format!("claimer-{claimer}");
    let mut got = Vec::new();
    loop {
        let short = claimer.is_multiple_of(2);
        let body = if short { json!(name) } else { json!({"worker": name, "slots": 3}) };
        let reply = client.post(format!("{url}/api/job/claim")).json(&body).send().await.unwrap();
        match reply.status().as_u16() {
            204 => return got,
            200 if short => {
                got.push(reply.json::<orchestra_contracts::Job>().await.unwrap().id.0);
            }
            200 => {
                let claimed: Vec<Claimed> = reply.json().await.unwrap();
                got.extend(claimed.iter().map(|one| one.job.id.0));
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_job_is_handed_out_twice() {
    let master = Master::start().await;
    for _ in 0..JOBS {
        master.submit(json!({"command": "true"})).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(http::serve(listener, master.router(), master.shutdown.clone()));
    let client = crate::server::client();
    let claimers = (0..CLAIMERS).map(|one| claim_all(url.clone(), client.clone(), one));
    let got = soon(futures::future::join_all(claimers)).await;
    let all: Vec<i64> = got.into_iter().flatten().collect();
    assert_eq!(all.len(), JOBS);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), JOBS);
    master.shutdown.cancel();
    drop(client);
    soon(tasks.join_all()).await;
}

/// How many calls the worker of a race makes.
const CALLS: usize = 4;

/// The answer to a request to cancel or delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Done,
    Promised,
    TooLate,
}

/// A worker that obeys orders at once. Returns whether it ran the job; `done` counts its calls.
async fn work(master: &Master, done: &Cell<usize>) -> bool {
    let claimed = master.claim("w").await;
    done.set(1);
    let Some(claimed) = claimed else {
        done.set(CALLS);
        return false;
    };
    let started = master.report(&claimed, "w", json!({"status": "Running"})).await;
    assert_eq!(started.status, 200, "{started:?}");
    done.set(2);
    let lease = json!({
        "job": claimed.job.id, "attempt": claimed.lease.attempt, "token": claimed.lease.token
    });
    let told = master.post("/api/worker/w/heartbeat", json!({"leases": [lease]})).await.json();
    done.set(3);
    let end = if told["cancel"] == json!([claimed.job.id]) {
        json!({"status": "Failed", "outcome": {"kind": "cancelled"}})
    } else {
        json!({"status": "Completed", "exitCode": 0})
    };
    let ended = master.report(&claimed, "w", end).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    done.set(CALLS);
    true
}

/// Sends the request while the worker makes its call after `when`, a few polls later.
async fn end(
    master: &Master,
    id: i64,
    delete: bool,
    (when, later): (usize, usize),
    done: &Cell<usize>,
) -> Answer {
    while done.get() < when {
        tokio::task::yield_now().await;
    }
    for _ in 0..later {
        tokio::task::yield_now().await;
    }
    let reply = if delete {
        master.bare("DELETE", &format!("/api/job/{id}")).await
    } else {
        master.bare("POST", &format!("/api/job/{id}/cancel")).await
    };
    match reply.status.as_u16() {
        200 | 204 => Answer::Done,
        202 => Answer::Promised,
        409 => Answer::TooLate,
        _ => panic!("{reply:?}"),
    }
}

/// Whenever the request comes, the answers of both sides are consistent with one order of events.
#[tokio::test]
async fn a_cancelled_or_deleted_job_has_one_fate() {
    let master = Master::start().await;
    let mut seen = HashSet::new();
    for round in 0..200_usize {
        let id = master.submit(json!({"command": "true"})).await;
        let delete = round.is_multiple_of(3);
        let (done, when) = (Cell::new(0), (round % (CALLS + 1), round / 5 % 8));
        let (ran, answer) =
            tokio::join!(work(&master, &done), end(&master, id, delete, when, &done));
        let status = master.get(&format!("/api/job/{id}")).await;
        let status = if status.status == 404 {
            "gone".to_owned()
        } else {
            status.json()["status"].as_str().unwrap().to_owned()
        };
        let fits = match (delete, answer, ran) {
            (true, Answer::Done | Answer::Promised, _) => status == "gone",
            // Any job can be deleted, and a job that was cancelled while pending never runs.
            (true, Answer::TooLate, _) | (false, Answer::Done, true) => false,
            (false, Answer::Done, false) => status == "Cancelled",
            (false, Answer::Promised, ran) => ran && ["Cancelled", "Completed"].contains(&&*status),
            (false, Answer::TooLate, ran) => ran && status == "Completed",
        };
        assert!(fits, "round {round}: delete {delete}, {answer:?}, ran {ran}, {status}");
        seen.insert((delete, answer, status));
        assert!(master.claim("w").await.is_none(), "nothing is left to run");
    }
    // Enough different results have occurred; otherwise the two sides never met.
    assert!(seen.len() >= 6, "{seen:?}");
}

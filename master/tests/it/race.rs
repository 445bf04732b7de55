//! Many claimers at once, over real connections.

use std::collections::HashSet;

use orchestra_contracts::worker::Claimed;
use orchestra_master::http;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use crate::harness::{Master, soon};

const JOBS: usize = 200;
const CLAIMERS: usize = 16;

/// Claims until there is nothing left, half of them with bare names.
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
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let claimers = (0..CLAIMERS).map(|one| claim_all(url.clone(), client.clone(), one));
    let got = soon(futures::future::join_all(claimers)).await;
    let all: Vec<i64> = got.into_iter().flatten().collect();
    assert_eq!(all.len(), JOBS);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), JOBS);
    master.shutdown.cancel();
    drop(client);
    soon(tasks.join_all()).await;
}

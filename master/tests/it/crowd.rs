//! Crowds over real connections: thousands of readers of one job, readers that disconnect, and
//! workers that all come back at once.

use std::time::{Duration, Instant};

use orchestra_contracts::event::LogEvent;
use orchestra_master::http;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

use crate::{
    faulty::Plan,
    harness::{LEASE, Master, encode, out, request, soon},
};

const FOLLOWERS: usize = 5_000;
/// File descriptors left for the other tests of this program.
const DESCRIPTORS_LEFT: usize = 1_000;
/// How many times slower followers may make a claim: they share two cores with it.
const SLOWER: u32 = 10;
/// Claims below this time count as fast, since a ratio of short times means nothing.
const QUICK: Duration = Duration::from_millis(2);

struct Served {
    master: Master,
    address: String,
    tasks: JoinSet<()>,
}

impl Served {
    async fn start() -> Self {
        let master = Master::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut tasks = JoinSet::new();
        tasks.spawn(http::serve(listener, master.router(), master.shutdown.clone()));
        Self { master, address, tasks }
    }

    async fn stop(self) {
        self.master.shutdown.cancel();
        soon(self.tasks.join_all()).await;
    }

    /// A follower whose stream has started.
    async fn follower(&self) -> Follower {
        let mut socket = TcpStream::connect(&self.address).await.unwrap();
        let head =
            "GET /api/job/1/log HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut follower = Follower { socket, text: String::new() };
        follower.until("event: state").await;
        follower
    }

    /// The time of a claim over a connection, while a job writes its log.
    async fn claim_time(
        &self,
        offset: &mut u64,
        claimed: &orchestra_contracts::worker::Claimed,
    ) -> Duration {
        const CLAIMS: usize = 60;
        let client = crate::server::client();
        let url = format!("http://{}/api/job/claim", self.address);
        let mut times = Vec::with_capacity(CLAIMS);
        for number in 0..CLAIMS {
            if number % 30 == 0 {
                *offset = self.master.stored(claimed, &[out("line\n")], *offset).await.offset;
            }
            self.master.submit(json!({"command": "true"})).await;
            let begun = Instant::now();
            let reply = client.post(&url).json(&json!({"worker": "w2"})).send().await.unwrap();
            assert_eq!(reply.status(), 200);
            reply.bytes().await.unwrap();
            times.push(begun.elapsed());
            sleep(Duration::from_millis(40)).await;
        }
        times.sort();
        times[CLAIMS / 2]
    }
}

struct Follower {
    socket: TcpStream,
    text: String,
}

impl Follower {
    async fn until(&mut self, wanted: &str) {
        while !self.text.contains(wanted) {
            assert!(self.more().await, "it ended without {wanted:?}: {}", self.text);
        }
    }

    async fn more(&mut self) -> bool {
        let mut piece = [0; 4096];
        let read = self.socket.read(&mut piece).await.unwrap();
        self.text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        read > 0
    }

    /// The log as this follower has read it.
    fn log(&self) -> String {
        let data = self.text.lines().filter_map(|line| line.strip_prefix("data: "));
        let logs = data.filter_map(|data| serde_json::from_str::<LogEvent>(data).ok());
        logs.filter_map(|log| log.text).collect()
    }
}

/// As many as the file descriptor limit of this process allows, at two for each.
fn affordable(followers: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, raised);
    let most = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most as usize);
    let affordable = followers.min(most.saturating_sub(DESCRIPTORS_LEFT) / 2);
    if affordable < followers {
        eprintln!("only {affordable} followers: the limit of open files is {most}");
    }
    affordable
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_followers_do_not_slow_claims() {
    let count = affordable(FOLLOWERS);
    let served = Served::start().await;
    let claimed = served.master.running(json!({"command": "true"})).await;
    let mut offset = served.master.stored(&claimed, &[out("first\n")], 0).await.offset;
    let alone = served.claim_time(&mut offset, &claimed).await;

    let mut followers = JoinSet::new();
    for _ in 0..count {
        let mut follower = served.follower().await;
        followers.spawn(async move {
            follower.until("event: end").await;
            follower.log()
        });
    }
    assert_eq!(served.master.service.reading(), count);
    let reads = served.master.faults.operations();
    let crowded = served.claim_time(&mut offset, &claimed).await;
    let reads = served.master.faults.operations() - reads;
    eprintln!(
        "a claim takes {alone:?} alone, {crowded:?} beside {count} followers; {reads} operations"
    );
    assert!(
        crowded <= SLOWER * alone.max(QUICK),
        "{crowded:?} beside {count} followers, {alone:?} alone"
    );
    // Each claim takes a few operations and each piece of log a few more. Followers share reads.
    assert!(reads < count, "{reads} operations of the database for {count} followers");

    let done = served.master.report(&claimed, "w", json!({"status": "Completed"})).await;
    assert_eq!(done.status, 200);
    let expected = served.master.get("/api/job/1/log").await.text();
    assert_eq!(expected.lines().count(), 5);
    for log in soon(followers.join_all()).await {
        assert_eq!(log, expected);
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_who_vanish_give_their_places_back() {
    let served = Served::start().await;
    let claimed = served.master.running(json!({"command": "true"})).await;
    for _ in 0..4 {
        let mut followers = Vec::new();
        for _ in 0..affordable(250) {
            followers.push(served.follower().await);
        }
        assert_eq!(served.master.service.reading(), followers.len());
        // Unread bytes in transit make the close reset the connection.
        served.master.stored(&claimed, &[out("x")], 0).await;
        drop(followers);
        let gone = async {
            while served.master.service.reading() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        soon(gone).await;
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_a_hundred_streams_at_once() {
    let served = Served::start().await;
    served.master.running(json!({"command": "true"})).await;
    let mut followers = Vec::new();
    for _ in 0..100 {
        followers.push(served.follower().await);
    }
    let begun = Instant::now();
    served.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    for follower in &mut followers {
        while follower.more().await {}
        assert!(!follower.text.contains("event: end"), "the job has not ended");
    }
}

/// Their heartbeats failed during an outage that was longer than a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_workers_come_back_at_once_and_lose_nothing() {
    let workers = affordable(500);
    let served = Served::start().await;
    let mut beats = Vec::new();
    for number in 0..workers {
        served.master.submit(json!({"command": "true"})).await;
        let name = format!("w{number}");
        let claimed = served.master.claim(&name).await.unwrap();
        let lease = json!({"job": claimed.job.id, "attempt": 1, "token": claimed.lease.token});
        beats.push((name, json!({"leases": [lease]})));
    }
    served.master.faults.plan(Plan::Writes);
    let (name, beat) = &beats[0];
    let path = format!("/api/worker/{name}/heartbeat");
    served.master.clock.advance(LEASE);
    assert_eq!(served.master.post(&path, beat.clone()).await.status, 503);
    served.master.faults.plan(Plan::Nothing);
    assert_eq!(served.master.service.expire_leases().await.unwrap(), 0);

    // Each has its own client, and so its own connection. Making one takes longer than the answer.
    let requests: Vec<_> = beats
        .into_iter()
        .map(|(name, beat)| {
            let url = format!("http://{}/api/worker/{name}/heartbeat", served.address);
            crate::server::client().post(url).json(&beat)
        })
        .collect();
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for request in requests {
        all.spawn(async move {
            let reply: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
            assert_eq!(reply["lost"], json!([]), "{reply}");
            begun.elapsed()
        });
    }
    let slowest = soon(all.join_all()).await.into_iter().max().unwrap();
    eprintln!("{workers} workers were answered within {slowest:?}");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    assert_eq!(served.master.service.expire_leases().await.unwrap(), 0);
    served.stop().await;
}

/// Beyond the limits on connections and on readers, the client gets an error and not a reset.
#[tokio::test]
async fn one_too_many_is_told_so() {
    let master = Master::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(http::serve_at_most(listener, master.router(), 2, master.shutdown.clone()));
    master.submit(json!({"command": "true"})).await;
    let mut busy = Vec::new();
    for held in 1..=2 {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = b"GET /api/job/1?wait=2m HTTP/1.1\r\nHost: localhost\r\n\r\n";
        connection.write_all(request).await.unwrap();
        busy.push(connection);
        soon(async {
            while master.service.reading() < held {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    let mut third = TcpStream::connect(address).await.unwrap();
    let mut text = String::new();
    soon(third.read_to_string(&mut text)).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("retry-after: 5"), "{text}");
    let body = text.split("\r\n\r\n").nth(1).unwrap();
    assert!(text.contains(&format!("content-length: {}\r\n", body.len())), "{text}");
    let problem: orchestra_contracts::Problem = serde_json::from_str(body).unwrap();
    assert_eq!(problem.status, 503);
    drop(busy);
    let url = format!("http://{address}/healthz");
    let again = async {
        let client = crate::server::client();
        while client.get(&url).send().await.map_or(true, |reply| reply.status() != 200) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    soon(again).await;
    master.shutdown.cancel();
    soon(tasks.join_all()).await;
}

#[tokio::test]
async fn readers_are_limited_and_workers_are_not() {
    let master = Master::serving_readers(2).await;
    let claimed = master.running(json!({"command": "true"})).await;
    let log = || {
        let request = request("GET", "/api/job/1/log").header("accept", "text/event-stream");
        request.body(axum::body::Body::empty()).unwrap()
    };
    let held = [master.open(log()).await, master.open(log()).await];
    for path in ["/api/job/1/log", "/api/job/1/log?follow=true", "/api/job/1?wait=1s"] {
        let refused = master.get(path).await;
        assert_eq!(refused.status, 503, "{path}");
        assert_eq!(
            (refused.problem().as_str(), refused.header("retry-after")),
            ("unavailable", "5")
        );
    }
    assert_eq!(master.get("/api/job/1").await.status, 200);
    assert_eq!(master.upload(&claimed, "w", 0, encode(&[out("x")])).await.status, 200);
    let done = master.report(&claimed, "w", json!({"status": "Completed"})).await;
    assert_eq!(done.status, 200);
    drop(held);
    assert_eq!(master.get("/api/job/1/log").await.text(), "x");
    assert_eq!(master.service.reading(), 0);
}

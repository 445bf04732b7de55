//! The server around the API: its socket, its start and its shutdown.

use std::time::Duration;

use axum::{Router, routing::get};
use clap::{Args, Command, FromArgMatches};
use orchestra_master::{Config, MasterError, http, store};
use orchestra_tests::Postgres;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::harness::soon;

const FREE_PORT: &[&str] = &["--listen", "127.0.0.1:0"];

pub(crate) fn config(folder: &tempfile::TempDir, more: &[&str]) -> Config {
    let data = folder.path().join("data").display().to_string();
    let command = Config::augment_args(Command::new("master").no_binary_name(true));
    let matches = command.get_matches_from(["--data", &data].iter().chain(more));
    Config::from_arg_matches(&matches).unwrap()
}

/// A whole master on its own port.
struct Running {
    url: String,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), MasterError>>,
    _folder: tempfile::TempDir,
}

#[expect(clippy::disallowed_methods, reason = "the handle is awaited by each test")]
async fn start_with(flags: &[&str]) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder, flags);
    let listener = orchestra_master::bind(&config).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let ended = tokio::spawn(orchestra_master::run(listener, config, shutdown.clone()));
    Running { url, shutdown, ended, _folder: folder }
}

async fn start() -> Running {
    start_with(FREE_PORT).await
}

impl Running {
    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        soon(self.ended).await.unwrap().unwrap();
    }
}

pub(crate) fn client() -> reqwest::Client {
    // It does not matter if another test has installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn submit(client: &reqwest::Client, url: &str) {
    let spec = serde_json::json!({"command": "true"});
    let reply = client.post(format!("{url}/api/job")).json(&spec).send().await.unwrap();
    assert_eq!(reply.status(), 201);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_those_who_wait() {
    let master = start().await;
    let client = client();
    submit(&client, &master.url).await;
    let log = format!("{}/api/job/1/log", master.url);
    let mut events = client.get(&log).header("accept", "text/event-stream").send().await.unwrap();
    assert!(soon(events.chunk()).await.unwrap().is_some());
    let mut text = client.get(format!("{log}?follow=true")).send().await.unwrap();
    let waiting = client.get(format!("{}/api/job/1?wait=2m", master.url)).send();
    let claim = serde_json::json!({"worker": "w", "queues": ["none"], "wait": "2m"});
    let claim = client.post(format!("{}/api/job/claim", master.url)).json(&claim).send();
    let stopping = async {
        // Both requests were sent; it does not matter whether they have arrived.
        tokio::task::yield_now().await;
        let begun = std::time::Instant::now();
        master.stop().await;
        begun.elapsed()
    };
    let (took, waited, claimed) = soon(async { tokio::join!(stopping, waiting, claim) }).await;
    assert!(took < Duration::from_secs(8), "{took:?}");
    if let Ok(waited) = waited {
        assert_eq!(waited.status(), 200);
    }
    if let Ok(claimed) = claimed {
        assert_eq!(claimed.status(), 204);
    }
    while let Ok(Some(chunk)) = events.chunk().await {
        assert!(!String::from_utf8_lossy(&chunk).contains("event: end"));
    }
    assert!(text.chunk().await.is_err(), "a followed text log is cut off");
}

/// A balancer that asks whether it is ready must not hear that it is, nor be left without an answer for long.
#[tokio::test]
async fn who_ends_is_not_ready_while_calls_are_still_under_way() {
    let master = start().await;
    let client = client();
    submit(&client, &master.url).await;
    let ready = format!("{}/readyz", master.url);
    assert_eq!(client.get(&ready).send().await.unwrap().status(), 200);
    // A call whose body is still to come keeps it from ending.
    let mut caller = TcpStream::connect(master.address()).await.unwrap();
    let head = "POST /api/job HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
                Content-Length: 19\r\n\r\n";
    caller.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    master.shutdown.cancel();
    let refused = async {
        while client.get(&ready).send().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(refused).await;
    assert!(!master.ended.is_finished(), "it is still there");
    caller.write_all(b"{\"command\": \"true\"}").await.unwrap();
    let mut answer = String::new();
    soon(caller.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    master.stop().await;
}

/// Its tables are somebody else's for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_its_tables_is_not_ready_before_it_has_them() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    store::open(&url).await.unwrap().close().await;
    let name = url.rsplit('/').next().unwrap().to_owned();
    let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted
                AND relation = '_sqlx_migrations'::regclass";
    let hold = "BEGIN; LOCK TABLE _sqlx_migrations; SELECT pg_sleep(4); COMMIT";
    let holding = {
        let name = name.clone();
        tokio::task::spawn_blocking(move || server.run(&name, hold))
    };
    while server.run(&name, held) != "1" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let master = start_with(&["--listen", "127.0.0.1:0", "--database-url", &url]).await;
    let ready = format!("{}/readyz", master.url);
    let asked = client().get(&ready).timeout(Duration::from_secs(1)).send().await;
    assert!(asked.is_err(), "{asked:?}");
    assert!(!master.ended.is_finished(), "it waits");
    holding.await.unwrap();
    let reply = soon(client().get(&ready).send()).await.unwrap();
    assert_eq!(reply.status(), 200);
    master.stop().await;
}

/// A client that sends ten megabytes to any address gets to read the answer.
#[tokio::test]
async fn large_bodies_get_an_answer_not_a_reset() {
    let master = start().await;
    let client = client();
    for (path, status) in [("/api/job", 413), ("/api/job/claim", 413), ("/nope", 404)] {
        let request = client
            .post(format!("{}{path}", master.url))
            .header("content-type", "application/json")
            .body("x".repeat(10 << 20));
        let reply = soon(request.send()).await.unwrap();
        assert_eq!(reply.status(), status, "{path}");
        assert_eq!(reply.headers()["content-type"], "application/problem+json");
    }
    master.stop().await;
}

#[tokio::test]
async fn several_requests_in_one_packet_are_answered_in_order() {
    let master = start().await;
    let mut socket = TcpStream::connect(master.address()).await.unwrap();
    let one = |path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let requests = one("/healthz").repeat(20)
        + &one("/nope").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    socket.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    soon(socket.read_to_string(&mut answers)).await.unwrap();
    let statuses: Vec<&str> =
        answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, [vec!["200"; 20], vec!["404"]].concat());
    master.stop().await;
}

/// The paused clock jumps to the next timer when every task waits.
#[tokio::test(start_paused = true)]
async fn half_a_request_is_cut_off() {
    let shutdown = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(async || "hello"));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(http::serve(listener, router, shutdown.clone()));
    let begun = tokio::time::Instant::now();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert!(begun.elapsed() <= Duration::from_secs(11), "{:?}", begun.elapsed());
    shutdown.cancel();
    tasks.join_all().await;
}

/// Sending a byte now and then does not extend the time limit for a head.
#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_cut_off_as_early() {
    let shutdown = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(async || "hello"));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(http::serve(listener, router, shutdown.clone()));
    let begun = tokio::time::Instant::now();
    let mut socket = TcpStream::connect(address).await.unwrap();
    for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ".iter().cycle() {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if socket.write_all(&[*byte]).await.is_err() {
            break;
        }
    }
    assert!(begun.elapsed() <= Duration::from_secs(12), "{:?}", begun.elapsed());
    shutdown.cancel();
    tasks.join_all().await;
}

#[tokio::test]
async fn what_hinders_a_start_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error =
        orchestra_master::bind(&config(&folder, &["--listen", &address])).await.unwrap_err();
    let sentence = error.to_string();
    assert!(sentence.contains(&address) && sentence.contains("--listen"), "{sentence}");

    let data = folder.path().join("data");
    std::fs::write(&data, "in the way").unwrap();
    let sentence = refused(config(&folder, &[])).await;
    assert!(sentence.contains("data folder") && sentence.contains("--data"), "{sentence}");
    std::fs::remove_file(&data).unwrap();

    std::fs::write(folder.path().join("damaged.db"), "no database".repeat(1000)).unwrap();
    let url = format!("sqlite:{}", folder.path().join("damaged.db").display());
    let sentence = refused(config(&folder, &["--database-url", &url])).await;
    assert!(sentence.starts_with("the database cannot be used: "), "{sentence}");

    let sentence = refused(config(&folder, &["--database-url", "mysql://host/db"])).await;
    assert!(sentence.starts_with("the database cannot be used: "), "{sentence}");
    let sentence = refused(config(&folder, &["--lease", "1ms"])).await;
    assert!(sentence.contains("--lease"), "{sentence}");
}

/// The error message with which this start fails.
async fn refused(config: Config) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let run = orchestra_master::run(listener, config, CancellationToken::new());
    soon(run).await.unwrap_err().to_string()
}

#[tokio::test]
async fn jobs_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for expected in [1, 2] {
        let config = config(&folder, FREE_PORT);
        let listener = orchestra_master::bind(&config).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let work = async {
            let client = client();
            submit(&client, &url).await;
            let list = client.get(format!("{url}/api/job")).send().await.unwrap();
            let jobs: Vec<orchestra_contracts::Job> = list.json().await.unwrap();
            assert_eq!(jobs.len(), expected);
            shutdown.cancel();
        };
        let (ended, ()) = soon(async {
            tokio::join!(orchestra_master::run(listener, config, shutdown.clone()), work)
        })
        .await;
        ended.unwrap();
    }
}

//! Many hostile connections to a master that requires no token. Only the requested call tells workers
//! from others.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use orchestra_master::http;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

use crate::{
    harness::{Master, soon},
    server::client,
};

/// The master's connection limit. The flood has many times as many.
const MOST: usize = 64;
const FLOOD: usize = 600;

/// Unfinished requests: half a head, nothing at all, half a body of a client's call, and half a body to
/// an unknown path.
const HALVES: [&str; 4] = [
    "GET /api/job HTTP/1.1\r\nHost: localhost\r\nX: ",
    "",
    "POST /api/job HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
     Content-Length: 1000\r\n\r\n{",
    "POST /nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
];

/// Opens connections one after another, and keeps those that stay open.
async fn flood(address: SocketAddr) {
    let mut held = Vec::new();
    for half in HALVES.iter().cycle().take(FLOOD) {
        if let Ok(mut socket) = TcpStream::connect(address).await {
            let _ = socket.write_all(half.as_bytes()).await;
            held.push(socket);
        }
        sleep(Duration::from_millis(2)).await;
    }
    std::future::pending::<()>().await;
}

/// The status of a call over its own connection, and how long it took.
async fn call(address: SocketAddr, path: &str, body: &Value) -> (u16, Duration) {
    let begun = Instant::now();
    let request = client().post(format!("http://{address}{path}")).json(body);
    let status = soon(request.send()).await.map_or(0, |reply| reply.status().as_u16());
    (status, begun.elapsed())
}

#[tokio::test]
async fn a_flood_of_half_requests_does_not_shut_workers_out() {
    let master = Master::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(http::serve_at_most(listener, master.router(), MOST, master.shutdown.clone()));
    let registration = json!({"slots": 1, "queues": ["default"], "version": "0"});
    assert_eq!(master.send_json("PUT", "/api/worker/w", &registration).await.status, 200);
    let mut flooding = JoinSet::new();
    flooding.spawn(flood(address));
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        sleep(Duration::from_millis(100)).await;
        master.submit(json!({"command": "true"})).await;
        for (path, body) in [
            ("/api/worker/w/heartbeat", json!({"leases": []})),
            ("/api/job/claim", json!({"worker": "w", "wait": "10s"})),
        ] {
            let (status, took) = call(address, path, &body).await;
            assert_eq!(status, 200, "{path} in round {round} after {took:?}");
            slowest = slowest.max(took);
        }
    }
    eprintln!("{FLOOD} half requests at {MOST} places: workers were answered within {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    flooding.abort_all();
    while flooding.join_next().await.is_some() {}
    master.shutdown.cancel();
    soon(tasks.join_all()).await;
}

//! A webhook receiver, and the calls with which a test triggers deliveries.

use std::sync::Arc;

use axum::http::HeaderMap;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::harness::{Master, Reply, soon};

/// A received request, and the connection that waits for its answer.
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) connection: TcpStream,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) async fn answer(mut self, status: &str, more: &str) {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n{more}\r\n");
        self.connection.write_all(head.as_bytes()).await.unwrap();
    }

    /// Verifies the signature as a receiver does, independent of the code that made it.
    #[track_caller]
    pub(crate) fn is_signed_with(&self, secret: &str) {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let (id, time) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        mac.update(format!("{id}.{time}.{}", self.body).as_bytes());
        let due = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(self.header("webhook-signature"), due);
    }
}

/// A receiver that answers when the test says so.
pub(crate) struct Receiver(pub(crate) TcpListener);

impl Receiver {
    pub(crate) async fn open() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?key=1", self.0.local_addr().unwrap())
    }

    pub(crate) async fn next(&self) -> Received {
        soon(async {
            let (mut connection, _) = self.0.accept().await.unwrap();
            let mut text = String::new();
            while !text.contains("\r\n\r\n") {
                text.push(char::from(connection.read_u8().await.unwrap()));
            }
            let mut lines = text.lines();
            let head = lines.next().unwrap().to_owned();
            let mut headers = HeaderMap::new();
            for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
                let name: axum::http::HeaderName = name.parse().unwrap();
                headers.append(name, value.parse().unwrap());
            }
            let length = headers["content-length"].to_str().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            connection.read_exact(&mut body).await.unwrap();
            let body = String::from_utf8(body).unwrap();
            Received { head, headers, body, connection }
        })
        .await
    }

    /// Whether no request has arrived so far.
    pub(crate) fn is_alone(&self) -> bool {
        rustix::net::accept(&self.0).is_err()
    }
}

pub(crate) async fn add(master: &Master, webhook: Value) -> Reply {
    master.post("/api/webhook", webhook).await
}

pub(crate) async fn added(master: &Master, webhook: Value) -> Value {
    let reply = add(master, webhook).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(reply.header("cache-control"), "no-store");
    reply.json()
}

/// Makes a job that has ended.
pub(crate) async fn cancelled(master: &Master) -> i64 {
    let id = master.submit(json!({"command": "true"})).await;
    assert_eq!(master.bare("POST", &format!("/api/job/{id}/cancel")).await.status, 200);
    id
}

/// The newest delivery, once it satisfies the condition.
pub(crate) async fn logged(master: &Master, webhook: i64, is: impl Fn(&Value) -> bool) -> Value {
    soon(async {
        loop {
            let log = master.get(&format!("/api/webhook/{webhook}/deliveries")).await.json();
            if is(&log[0]) {
                return log[0].clone();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

pub(crate) fn state(due: &'static str) -> impl Fn(&Value) -> bool {
    move |delivery| delivery["state"] == due
}

/// Another master on the same database.
pub(crate) struct Successor {
    pub(crate) service: Arc<orchestra_master::service::Service>,
    pub(crate) shutdown: CancellationToken,
}

impl Successor {
    pub(crate) fn run(&self) -> (JoinSet<()>, tokio_util::sync::DropGuard) {
        let mut tasks = JoinSet::new();
        tasks.spawn(orchestra_master::service::deliver(self.service.clone()));
        (tasks, self.shutdown.clone().drop_guard())
    }
}

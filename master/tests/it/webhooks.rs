//! Ends of jobs are told to receivers that answer, refuse, fail, are away, or say nothing.

use std::sync::Arc;

use axum::http::HeaderMap;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use orchestra_contracts::Span;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::harness::{Master, Reply, soon};

/// A request as it came, and the connection that waits for its answer.
struct Received {
    head: String,
    headers: HeaderMap,
    body: String,
    connection: TcpStream,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    async fn answer(mut self, status: &str, more: &str) {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n{more}\r\n");
        self.connection.write_all(head.as_bytes()).await.unwrap();
    }

    /// As a receiver checks it, without a word of the code that made it.
    #[track_caller]
    fn is_signed_with(&self, secret: &str) {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let (id, time) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        mac.update(format!("{id}.{time}.{}", self.body).as_bytes());
        let due = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(self.header("webhook-signature"), due);
    }
}

/// Somebody who listens, and answers when the test says so.
struct Receiver(TcpListener);

impl Receiver {
    async fn open() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}/hook?key=1", self.0.local_addr().unwrap())
    }

    async fn next(&self) -> Received {
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

    /// Whether nobody has come so far.
    fn is_alone(&self) -> bool {
        rustix::net::accept(&self.0).is_err()
    }
}

async fn add(master: &Master, webhook: Value) -> Reply {
    master.post("/api/webhook", webhook).await
}

async fn added(master: &Master, webhook: Value) -> Value {
    let reply = add(master, webhook).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(reply.header("cache-control"), "no-store");
    reply.json()
}

/// A job that has ended.
async fn cancelled(master: &Master) -> i64 {
    let id = master.submit(json!({"command": "true"})).await;
    assert_eq!(master.bare("POST", &format!("/api/job/{id}/cancel")).await.status, 200);
    id
}

/// The newest delivery, once this is true of it.
async fn logged(master: &Master, webhook: i64, is: impl Fn(&Value) -> bool) -> Value {
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

fn state(due: &'static str) -> impl Fn(&Value) -> bool {
    move |delivery| delivery["state"] == due
}

#[tokio::test]
async fn an_end_is_told_once_and_signed() {
    let master = Master::delivering(&["127.0.0.0/8"]).await;
    let receiver = Receiver::open().await;
    let wanted = json!({"url": receiver.url(), "on": ["Completed"], "labels": {"team": "core"}});
    let webhook = added(&master, wanted).await;
    let secret = webhook["secret"].as_str().unwrap();
    let spec = json!({"command": "deploy", "labels": {"team": "core"}, "stdin": "input",
        "secrets": {"KEY": "hunter2hunter2"}});
    let claimed = master.running(spec).await;
    master.report(&claimed, "w", json!({"status": "Completed", "output": "words"})).await;

    let told = receiver.next().await;
    assert_eq!(told.head, "POST /hook?key=1 HTTP/1.1");
    assert_eq!(told.header("content-type"), "application/json");
    assert!(told.header("user-agent").starts_with("orchestra/"));
    told.is_signed_with(secret);
    let body = told.json();
    assert_eq!(
        (&body["type"], &body["timestamp"]),
        (&json!("job.completed"), &json!("2026-01-02T03:04:05Z"))
    );
    let mut due = master.job(1).await;
    for name in ["output", "error", "outputTruncated", "stdin"] {
        due.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(body["data"], due);
    assert_eq!(due["secrets"], json!({"KEY": "***"}));
    told.answer("200 OK", "").await;

    let delivery = logged(&master, 1, state("Delivered")).await;
    let time = "2026-01-02T03:04:05Z";
    let shown = json!({"id": 1, "message": "msg_1_1767323045000", "job": 1, "on": "Completed",
        "state": "Delivered", "attempts": 1, "answer": 200, "error": null,
        "createdAt": time, "triedAt": time, "nextTry": null});
    assert_eq!(delivery, shown);
    // Ends that nobody asked for are no deliveries.
    cancelled(&master).await;
    assert_eq!(master.get("/api/webhook/1/deliveries").await.json(), json!([shown]));
    assert!(receiver.is_alone());
}

#[tokio::test]
async fn a_secret_is_shown_once_and_is_not_on_the_disk() {
    let master = Master::start().await;
    let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
    let wanted = json!({"url": "https://a.example", "queue": "build", "secret": secret});
    let reply = add(&master, wanted).await;
    assert_eq!(reply.header("location"), "/api/webhook/1");
    assert_eq!(reply.json()["secret"], secret);
    let shown = json!({"id": 1, "url": "https://a.example",
        "on": ["Completed", "Failed", "Cancelled"], "queue": "build", "labels": {},
        "createdAt": "2026-01-02T03:04:05Z"});
    assert_eq!(master.get("/api/webhook").await.json(), json!([shown]));
    assert_eq!(master.get("/api/webhook/1").await.json(), shown);
    let made = added(&master, json!({"url": "https://a.example"})).await;
    let made = made["secret"].as_str().unwrap();
    assert!(made.starts_with("whsec_") && made != secret, "{made}");
    let disk = master.on_disk();
    for secret in [secret.as_str(), made, &STANDARD.encode([7; 32])] {
        assert!(!disk.windows(secret.len()).any(|part| part == secret.as_bytes()));
    }
}

#[tokio::test]
async fn a_receiver_that_fails_twice_hears_it_at_the_third_try() {
    let master = Master::delivering(&["127.0.0.0/8"]).await;
    let receiver = Receiver::open().await;
    let webhook = added(&master, json!({"url": receiver.url()})).await;
    let secret = webhook["secret"].as_str().unwrap().to_owned();
    cancelled(&master).await;
    let mut told = Vec::new();
    for tries in 1..3 {
        let request = receiver.next().await;
        told.push((request.header("webhook-id").to_owned(), request.body.clone()));
        request.is_signed_with(&secret);
        request.answer("500 Internal Server Error", "").await;
        let delivery = logged(&master, 1, |it| it["attempts"] == tries).await;
        assert_eq!((&delivery["state"], &delivery["answer"]), (&json!("Pending"), &json!(500)));
        assert_eq!(delivery["error"], "it answered with 500");
        assert!(delivery["nextTry"].is_string(), "{delivery}");
        assert!(receiver.is_alone(), "not before its time");
        master.clock.advance(Span::from_secs(2));
    }
    let last = receiver.next().await;
    last.is_signed_with(&secret);
    assert_eq!(last.header("webhook-timestamp"), "1767323049", "each try has its own time");
    told.push((last.header("webhook-id").to_owned(), last.body.clone()));
    assert!(told.iter().all(|one| *one == told[0]), "the same with each try: {told:?}");
    last.answer("204 No Content", "").await;
    let delivery = logged(&master, 1, state("Delivered")).await;
    assert_eq!((&delivery["attempts"], &delivery["error"]), (&json!(3), &Value::Null));
}

#[tokio::test]
async fn a_receiver_that_wants_no_more_is_left_alone_until_somebody_asks() {
    let master = Master::delivering(&["127.0.0.0/8"]).await;
    let receiver = Receiver::open().await;
    added(&master, json!({"url": receiver.url()})).await;
    cancelled(&master).await;
    receiver.next().await.answer("410 Gone", "").await;
    let delivery = logged(&master, 1, state("GivenUp")).await;
    assert_eq!((&delivery["answer"], &delivery["nextTry"]), (&json!(410), &Value::Null));
    let again = master.bare("POST", "/api/webhook/1/deliveries/1/retry").await.json();
    assert_eq!((&again["state"], &again["attempts"]), (&json!("Pending"), &json!(0)));
    receiver.next().await.answer("200 OK", "").await;
    logged(&master, 1, state("Delivered")).await;
    for path in ["/api/webhook/1/deliveries/9/retry", "/api/webhook/9/deliveries/1/retry"] {
        assert_eq!(master.bare("POST", path).await.problem(), "not-found");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let master = Master::delivering(&["127.0.0.0/8"]).await;
    let (receiver, other) = (Receiver::open().await, Receiver::open().await);
    added(&master, json!({"url": receiver.url()})).await;
    cancelled(&master).await;
    let location = format!("location: {}\r\n", other.url());
    receiver.next().await.answer("307 Temporary Redirect", &location).await;
    let delivery = logged(&master, 1, |it| it["attempts"] == 1).await;
    assert_eq!(delivery["error"], "it answered with 307; redirects are not followed");
    assert!(other.is_alone());
}

#[tokio::test]
async fn a_private_address_is_refused_when_it_is_named() {
    let master = Master::delivering(&["10.1.0.0/16"]).await;
    for url in ["http://127.0.0.1:5216/", "http://0x7f.1/", "http://[::ffff:10.2.0.1]/"] {
        let reply = add(&master, json!({"url": url})).await;
        assert_eq!(reply.problem(), "invalid", "{url}");
        let error = &reply.json()["errors"][0];
        assert_eq!(error["pointer"], "/url");
        assert!(error["detail"].as_str().unwrap().contains("ORCHESTRA_WEBHOOK_ALLOW"), "{error}");
    }
    added(&master, json!({"url": "http://10.1.2.3/"})).await;
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused_when_it_is_told() {
    let master = Master::delivering(&[]).await;
    let receiver = Receiver::open().await;
    let port = receiver.0.local_addr().unwrap().port();
    added(&master, json!({"url": format!("http://localhost:{port}/")})).await;
    cancelled(&master).await;
    let delivery = logged(&master, 1, |it| it["attempts"] == 1).await;
    let error = delivery["error"].as_str().unwrap();
    assert!(error.starts_with("localhost leads to ") && error.contains("loopback"), "{error}");
    assert_eq!((&delivery["state"], &delivery["answer"]), (&json!("Pending"), &Value::Null));
    assert!(receiver.is_alone(), "nothing was sent");
}

#[tokio::test]
async fn what_was_allowed_once_is_looked_at_again() {
    let master = Master::delivering(&["127.0.0.0/8"]).await;
    let receiver = Receiver::open().await;
    added(&master, json!({"url": receiver.url()})).await;
    master.shutdown.cancel();
    let successor = master.successor(&[]);
    let _running = successor.run();
    cancelled(&master).await;
    let delivery = logged(&master, 1, |it| it["attempts"] == 1).await;
    assert!(delivery["error"].as_str().unwrap().contains("loopback"), "{delivery}");
    assert!(receiver.is_alone(), "nothing was sent");
}

#[tokio::test]
async fn a_receiver_that_is_away_over_a_restart_of_the_master_hears_it_later() {
    let master = Master::delivering(&["127.0.0.0/8"]).await;
    let receiver = Receiver::open().await;
    let (url, address) = (receiver.url(), receiver.0.local_addr().unwrap());
    let webhook = added(&master, json!({"url": url})).await;
    drop(receiver);
    cancelled(&master).await;
    let delivery = logged(&master, 1, |it| it["attempts"] == 1).await;
    assert!(delivery["error"].as_str().unwrap().contains("refused"), "{delivery}");
    master.shutdown.cancel();
    // Ends while no courier is there are told as well.
    cancelled(&master).await;
    let receiver = Receiver(TcpListener::bind(address).await.unwrap());
    master.clock.advance(Span::from_secs(2));
    assert!(receiver.is_alone());
    let successor = master.successor(&["127.0.0.0/8"]);
    let _running = successor.run();
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let told = receiver.next().await;
        told.is_signed_with(webhook["secret"].as_str().unwrap());
        jobs.push(told.json()["data"]["id"].as_i64().unwrap());
        told.answer("200 OK", "").await;
    }
    jobs.sort_unstable();
    assert_eq!(jobs, [1, 2]);
}

#[tokio::test]
async fn what_was_under_way_when_a_master_ended_is_sent_again() {
    let master = Master::delivering(&["127.0.0.0/8"]).await;
    let receiver = Receiver::open().await;
    added(&master, json!({"url": receiver.url()})).await;
    cancelled(&master).await;
    let first = receiver.next().await;
    master.shutdown.cancel();
    let mut first_connection = first.connection;
    let end = soon(first_connection.read(&mut [0])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "the courier ends with its master");
    let successor = master.successor(&["127.0.0.0/8"]);
    let _running = successor.run();
    let again = receiver.next().await;
    assert_eq!(
        (again.headers["webhook-id"].clone(), again.body.clone()),
        (first.headers["webhook-id"].clone(), first.body)
    );
    again.answer("200 OK", "").await;
    logged(&master, 1, state("Delivered")).await;
}

#[tokio::test]
async fn a_receiver_that_never_answers_holds_up_nobody_else() {
    let master = Master::delivering(&["127.0.0.0/8"]).await;
    let (silent, good) = (Receiver::open().await, Receiver::open().await);
    added(&master, json!({"url": silent.url()})).await;
    added(&master, json!({"url": good.url()})).await;
    for _ in 0..8 {
        cancelled(&master).await;
    }
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(silent.next().await);
    }
    for _ in 0..8 {
        good.next().await.answer("200 OK", "").await;
    }
    logged(&master, 2, |_| true).await;
    assert!(silent.is_alone(), "no more than four are under way to one receiver");
    for told in held.drain(..) {
        told.answer("200 OK", "").await;
    }
    for _ in 0..4 {
        silent.next().await.answer("200 OK", "").await;
    }
}

#[tokio::test]
async fn a_webhook_that_is_removed_is_told_nothing_more() {
    let master = Master::delivering(&["127.0.0.0/8"]).await;
    let receiver = Receiver::open().await;
    added(&master, json!({"url": receiver.url()})).await;
    cancelled(&master).await;
    receiver.next().await.answer("500 Internal Server Error", "").await;
    logged(&master, 1, |it| it["attempts"] == 1).await;
    assert_eq!(master.bare("DELETE", "/api/webhook/1").await.status, 204);
    for (method, path) in [
        ("DELETE", "/api/webhook/1"),
        ("GET", "/api/webhook/1"),
        ("GET", "/api/webhook/1/deliveries"),
        ("POST", "/api/webhook/1/deliveries/1/retry"),
    ] {
        assert_eq!(master.bare(method, path).await.problem(), "not-found", "{method} {path}");
    }
    master.clock.advance(Span::from_secs(9));
    cancelled(&master).await;
    // Whoever is told of the later end would have been told of the earlier one before.
    let other = Receiver::open().await;
    added(&master, json!({"url": other.url()})).await;
    cancelled(&master).await;
    other.next().await.answer("200 OK", "").await;
    logged(&master, 2, state("Delivered")).await;
    assert!(receiver.is_alone());
}

#[tokio::test]
async fn a_secret_that_cannot_be_opened_signs_nothing() {
    let master = Master::delivering(&["127.0.0.0/8"]).await;
    let receiver = Receiver::open().await;
    added(&master, json!({"url": receiver.url()})).await;
    master.shutdown.cancel();
    let (service, _) = master.restarted_with(&[9; 32]);
    let mut tasks = JoinSet::new();
    tasks.spawn(orchestra_master::service::deliver(service));
    cancelled(&master).await;
    let delivery = logged(&master, 1, state("GivenUp")).await;
    assert!(delivery["error"].as_str().unwrap().contains("secret cannot be opened"), "{delivery}");
    assert!(receiver.is_alone());
}

#[tokio::test]
async fn a_try_that_cannot_be_noted_is_not_made_again_and_again() {
    let master = Master::delivering(&["127.0.0.0/8"]).await;
    let receiver = Receiver::open().await;
    added(&master, json!({"url": receiver.url()})).await;
    cancelled(&master).await;
    let told = receiver.next().await;
    master.faults.plan(crate::faulty::Plan::Writes);
    let before = master.faults.operations();
    told.answer("200 OK", "").await;
    soon(async {
        // The courier looks for what is due, and tries to write, again and again.
        while master.faults.operations() < before + 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(receiver.is_alone());
    master.faults.plan(crate::faulty::Plan::Nothing);
    logged(&master, 1, state("Delivered")).await;
    assert!(receiver.is_alone());
}

/// Another master on the same database.
pub(crate) struct Successor {
    pub(crate) service: Arc<orchestra_master::service::Service>,
    pub(crate) shutdown: CancellationToken,
}

impl Successor {
    fn run(&self) -> (JoinSet<()>, tokio_util::sync::DropGuard) {
        let mut tasks = JoinSet::new();
        tasks.spawn(orchestra_master::service::deliver(self.service.clone()));
        (tasks, self.shutdown.clone().drop_guard())
    }
}

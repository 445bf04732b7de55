//! Webhooks: ends of jobs are delivered to subscribers, and nothing is sent to forbidden addresses.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    harness::Master,
    receiver::{Receiver, add, added, cancelled, logged, state},
};

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
    // Ends without a subscriber make no deliveries.
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

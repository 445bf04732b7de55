//! Receivers that fail, are down, stay silent or opt out, and masters that stop meanwhile.

use orchestra_contracts::Span;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::{
    faulty::Plan,
    harness::{Master, soon},
    receiver::{Receiver, added, cancelled, logged, state},
};

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
    assert!(told.iter().all(|one| *one == told[0]), "every try sends the same: {told:?}");
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
    // Ends that happen while no courier runs are delivered later.
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
    // Deliveries are in order: once the later end is delivered, the earlier one would have been.
    let other = Receiver::open().await;
    added(&master, json!({"url": other.url()})).await;
    cancelled(&master).await;
    other.next().await.answer("200 OK", "").await;
    logged(&master, 2, state("Delivered")).await;
    assert!(receiver.is_alone());
}

#[tokio::test]
async fn a_try_that_cannot_be_noted_is_not_made_again_and_again() {
    let master = Master::delivering(&["127.0.0.0/8"]).await;
    let receiver = Receiver::open().await;
    added(&master, json!({"url": receiver.url()})).await;
    cancelled(&master).await;
    let told = receiver.next().await;
    master.faults.plan(Plan::Writes);
    let before = master.faults.operations();
    told.answer("200 OK", "").await;
    soon(async {
        // The courier looks for due deliveries and tries to write, again and again.
        while master.faults.operations() < before + 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(receiver.is_alone());
    master.faults.plan(Plan::Nothing);
    logged(&master, 1, state("Delivered")).await;
    assert!(receiver.is_alone());
}

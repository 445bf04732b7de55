//! What workers allow, according to their registration: what is refused on submission, and which
//! worker gets which job.

use orchestra_contracts::Span;
use orchestra_master::service::Caller;
use serde_json::{Value, json};

use crate::{
    harness::{Master, Reply},
    idempotency::submit,
};

fn registration(memory: &str, network: &str, images: &[&str]) -> Value {
    json!({"slots": 2, "queues": ["default"], "version": "1", "offer": {
        "cpus": 2, "memory": memory, "pids": 256, "tmp": "64m", "network": network, "images": images,
    }})
}

async fn register(master: &Master, worker: &str, registration: &Value) {
    let path = format!("/api/worker/{worker}");
    let reply = master.send_json("PUT", &path, registration).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// A master with a small worker that has a network, and a large one without.
async fn house() -> Master {
    let master = Master::start().await;
    register(&master, "small", &registration("512m", "bridge", &["gcc"])).await;
    register(&master, "large", &registration("4g", "none", &["gcc", "rust"])).await;
    master
}

fn needs(memory: &str) -> Value {
    json!({"command": "true", "resources": {"memory": memory}})
}

/// The id of the next job for this worker, or 0.
async fn handed(master: &Master, worker: &str) -> i64 {
    master.claim(worker).await.map_or(0, |claimed| claimed.job.id.0)
}

#[track_caller]
fn is_beyond(reply: &Reply, errors: &[(&str, &str)]) {
    assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (422, "invalid"), "{reply:?}");
    let found = reply.json()["errors"].as_array().unwrap().clone();
    let found: Vec<_> = found
        .iter()
        .map(|it| (it["pointer"].as_str().unwrap(), it["detail"].as_str().unwrap()))
        .collect();
    assert_eq!(found, errors);
}

#[tokio::test]
async fn what_no_worker_allows_is_refused_with_the_best_that_there_is() {
    let master = house().await;
    let reply = master.post("/api/job", needs("8g")).await;
    let sentence = "asks for 8g, and no worker allows more than 4g";
    is_beyond(&reply, &[("/resources/memory", sentence)]);
    let hint = reply.json()["hint"].as_str().unwrap().to_owned();
    for part in ["queue default", "2 cpus, 4g memory, 256 pids, 64m /tmp", "a network"] {
        assert!(hint.contains(part), "{part}: {hint}");
    }
    let much = json!({"command": "true", "resources": {"cpus": 3, "pids": 300, "tmp": "1g"}});
    is_beyond(
        &master.post("/api/job", much).await,
        &[
            ("/resources/cpus", "asks for 3, and no worker allows more than 2"),
            ("/resources/pids", "asks for 300, and no worker allows more than 256"),
            ("/resources/tmp", "asks for 1g, and no worker allows more than 64m"),
        ],
    );
    let both = json!({"command": "true", "resources": {"memory": "1g"}, "network": "bridge"});
    let reply = master.post("/api/job", both).await;
    assert_eq!(reply.status, 422, "each worker allows only one of the two: {reply:?}");
    assert_eq!(master.get("/api/job").await.json(), json!([]), "nothing was stored");
    master.submit(needs("4g")).await;
    master.submit(json!({"command": "true", "network": "bridge"})).await;
}

#[tokio::test]
async fn each_job_goes_to_a_worker_that_takes_it() {
    let master = house().await;
    let large = master.submit(needs("1g")).await;
    let network = master.submit(json!({"command": "true", "network": "bridge"})).await;
    let small = master.submit(needs("512m")).await;
    let plain = master.submit(json!({"command": "true"})).await;
    assert_eq!(handed(&master, "small").await, network);
    assert_eq!(handed(&master, "small").await, small);
    assert_eq!(handed(&master, "large").await, large);
    assert_eq!(handed(&master, "large").await, plain);
    assert_eq!(handed(&master, "small").await, 0);
}

#[tokio::test]
async fn without_workers_everything_is_accepted_and_the_unregistered_take_it() {
    let master = Master::start().await;
    let job = master.submit(needs("900g")).await;
    assert_eq!(handed(&master, "curl").await, job);
    register(&master, "small", &registration("512m", "none", &[])).await;
    let job = master.submit(needs("100m")).await;
    let elsewhere = json!({"command": "true", "queue": "night", "resources": {"memory": "900g"}});
    master.submit(elsewhere).await;
    let reply = master.post("/api/job/claim", json!("curl")).await;
    assert_eq!(reply.json()["id"], job, "a claim by a bare name gets the job");
}

/// Such a worker registers without an offer.
#[tokio::test]
async fn an_older_worker_takes_any_job() {
    let master = house().await;
    let old = json!({"slots": 1, "queues": ["default"], "version": "0"});
    register(&master, "old", &old).await;
    let job = master.submit(needs("900g")).await;
    assert_eq!(handed(&master, "large").await, 0);
    assert_eq!(handed(&master, "old").await, job);
}

#[tokio::test]
async fn an_image_goes_to_who_has_it_and_a_typo_to_anybody() {
    let master = house().await;
    let image = |image: &str| json!({"command": "true", "image": image});
    let rust = master.submit(image("rust")).await;
    let gcc = master.submit(image("gcc")).await;
    assert_eq!(handed(&master, "small").await, gcc);
    assert_eq!(handed(&master, "small").await, 0);
    assert_eq!(handed(&master, "large").await, rust);
    let typo = master.submit(image("gxx")).await;
    assert_eq!(handed(&master, "small").await, typo);
    // An image folder was added, and the worker has registered it.
    let added = master.submit(image("rust")).await;
    register(&master, "small", &registration("512m", "bridge", &["gcc", "rust"])).await;
    assert_eq!(handed(&master, "small").await, added);
}

/// A client repeats a request whose answer was lost.
#[tokio::test]
async fn what_was_accepted_before_is_not_refused_now() {
    let master = house().await;
    let first = submit(&master, "key", &needs("4g")).await;
    assert_eq!(first.status, 201, "{first:?}");
    register(&master, "large", &registration("1g", "none", &[])).await;
    let again = submit(&master, "key", &needs("4g")).await;
    assert_eq!((again.status.as_u16(), again.header("idempotent-replayed")), (201, "true"));
    assert_eq!(submit(&master, "key", &needs("3g")).await.status, 422, "another job, same key");
    assert_eq!(submit(&master, "new", &needs("4g")).await.problem(), "invalid");
    register(&master, "large", &registration("4g", "none", &[])).await;
    assert_eq!(submit(&master, "new", &needs("4g")).await.json()["id"], 2, "no key was kept");
}

/// A worker's offer may change while it waits for a job.
#[tokio::test]
async fn a_claim_that_waits_goes_by_what_the_worker_says_last() {
    let master = house().await;
    let job = master.submit(needs("2g")).await;
    let waits = json!({"worker": "small", "wait": "1m"});
    let (reply, ()) = tokio::join!(master.post("/api/job/claim", waits), async {
        tokio::task::yield_now().await;
        register(&master, "small", &registration("2g", "none", &[])).await;
    });
    assert_eq!(reply.json()[0]["job"]["id"], job);
}

#[tokio::test]
async fn a_worker_is_counted_on_for_a_day() {
    let master = house().await;
    master.clock.advance(Span::from_secs(23 * 3600));
    assert_eq!(master.post("/api/job", needs("8g")).await.status, 422);
    let heartbeat = json!({"leases": []});
    assert_eq!(master.post("/api/worker/small/heartbeat", heartbeat).await.status, 200);
    master.clock.advance(Span::from_secs(2 * 3600));
    let gone = "asks for 1g, and no worker allows more than 512m";
    let reply = master.post("/api/job", needs("1g")).await;
    is_beyond(&reply, &[("/resources/memory", gone)]);
    master.clock.advance(Span::from_secs(24 * 3600));
    master.submit(needs("8g")).await;
}

#[tokio::test]
async fn a_master_that_comes_back_knows_what_workers_allow() {
    let master = house().await;
    let again = master.restarted();
    let submit = async |memory| {
        let spec = serde_json::from_value(needs(memory)).unwrap();
        again.submit(spec, &Caller::anyone(), None, None).await
    };
    assert!(submit("8g").await.is_err());
    assert!(submit("4g").await.is_ok());
    let shown = master.get("/api/worker").await.json();
    assert_eq!(shown[0]["offer"]["memory"], "4g");
    assert_eq!(shown[1]["offer"]["images"], json!(["gcc"]));
}

#[tokio::test]
async fn an_image_of_a_registry_is_for_a_worker_that_lets_it_in() {
    let master = house().await;
    let foreign = json!({"command": "true", "image": "python:3.12"});
    let sentence = "asks for the image python:3.12 of a registry, and no worker allows one";
    is_beyond(&master.post("/api/job", foreign.clone()).await, &[("/image", sentence)]);

    let mut open = registration("512m", "none", &[]);
    open["offer"]["references"] = json!(["docker.io/library/*"]);
    register(&master, "open", &open).await;
    assert_eq!(master.post("/api/job", foreign).await.status, 201);
    assert_eq!([handed(&master, "large").await, handed(&master, "open").await], [0, 1]);
    let other = json!({"command": "true", "image": "ghcr.io/library/python:3.12"});
    assert_eq!(master.post("/api/job", other).await.status, 422);
    let wrong = json!({"command": "true", "image": "docker.io/../python"});
    assert_eq!(master.post("/api/job", wrong).await.status, 422);
    // An invalid pattern is refused on registration.
    open["offer"]["references"] = json!(["*"]);
    let reply = master.send_json("PUT", "/api/worker/odd", &open).await;
    assert_eq!(reply.status, 422, "{reply:?}");
}

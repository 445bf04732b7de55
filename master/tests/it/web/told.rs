//! The pages of what workers report, and of what webhooks delivered.

use orchestra_contracts::{Role, Span};
use serde_json::json;

use super::{HTML, add_webhook, ask, look, page, register};
use crate::{access::issue, harness::Master};

#[tokio::test]
async fn webhooks_are_for_admins_and_show_what_was_sent() {
    let master = Master::start().await;
    add_webhook(&master).await;
    let id = master.submit(json!({"command": "true"})).await;
    let text = page(&master.get("/webhooks/1").await, "before");
    assert!(text.contains("no matching job has ended"), "{text}");
    master.bare("POST", &format!("/api/job/{id}/cancel")).await;
    let text = page(&master.get("/webhooks/1").await, "after");
    assert!(text.contains("Pending") && text.contains("href=\"/jobs/1\""), "{text}");
    assert!(text.contains("data-post=\"/api/webhook/1/deliveries/1/retry\""), "{text}");
    assert!(page(&master.get("/webhooks").await, "all").contains("href=\"/webhooks/1\""));
    assert_eq!(ask(&master, "GET", "/webhooks/2", &[HTML], "").await.status, 404);

    let master = Master::with_tokens().await;
    let client = issue(&master, Role::Client, None).await.token;
    let admin = issue(&master, Role::Admin, None).await.token;
    assert_eq!(look(&master, &client, "/webhooks").await.status, 403);
    assert!(!page(&look(&master, &client, "/").await, "client").contains("href=\"/webhooks\""));
    assert!(page(&look(&master, &admin, "/").await, "admin").contains("href=\"/webhooks\""));
}

#[tokio::test]
async fn images_and_workers_show_what_workers_tell() {
    let master = Master::start().await;
    let offer =
        json!({"cpus": 1, "memory": "1g", "pids": 64, "tmp": "1m", "images": ["gcc", "python"]});
    for worker in ["box-1", "box-2", "box-3"] {
        register(&master, worker, json!({"offer": offer})).await;
    }
    let image = |built: bool, used: &str| json!({"name": "gcc", "built": built, "size": "200m", "lastUsed": used, "ready": 2});
    let checks = json!([{"name": "engine", "ok": true, "detail": "it answers"},
        {"name": "worker-files", "ok": false, "detail": "it is root's", "fix": "sudo chown it"}]);
    for (worker, built, used) in
        [("box-1", true, "2026-01-01T00:00:00Z"), ("box-2", false, "2026-01-02T00:00:00Z")]
    {
        let stats = json!({"images": [image(built, used)], "checks": checks,
            "pool": {"ready": 2, "hits": 9, "misses": 1},
            "engine": {"answer": {"count": 10, "failed": 3, "totalMs": 70}}});
        let path = format!("/api/worker/{worker}/heartbeat");
        assert_eq!(master.post(&path, json!({"leases": [], "stats": stats})).await.status, 200);
    }
    let text = page(&master.get("/images").await, "images");
    for word in [
        "data-name=\"Built on\">box-1<",
        "data-name=\"Not built on\">box-2, box-3<",
        "data-name=\"Not built on\">box-1, box-2, box-3<",
        "200 MiB",
        "data-name=\"Warm sandboxes\">4<",
        "2026-01-02 00:00:00",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let text = page(&master.get("/workers").await, "workers");
    for word in [
        "2 ready; 9 of 10 jobs got one",
        "10, 7 ms on average; 3 failed",
        "sudo chown it",
        "1 failed",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // What an offline worker reported is no longer shown.
    master.clock.advance(Span::from_secs(61));
    assert!(page(&master.get("/images").await, "later").contains("No online worker"));
}

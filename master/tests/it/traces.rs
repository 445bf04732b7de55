//! A job belongs to the trace of its caller, whatever happens to the job.

use serde_json::{Value, json};

use crate::harness::{Master, request};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-1111111111111111-01";

async fn submitted(master: &Master, trace: &str, key: &str, body: &Value) -> Value {
    let request = request("POST", "/api/job")
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .header("traceparent", trace)
        .body(body.to_string().into())
        .unwrap();
    let reply = master.send(request).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json()
}

#[tokio::test]
async fn a_job_says_whose_trace_it_is_and_its_worker_is_told() {
    let master = Master::start().await;
    let body = json!({"command": "true", "labels": {"team": "a"}});
    let job = submitted(&master, TRACE, "one", &body).await;
    assert_eq!(job["labels"], json!({"team": "a", "traceparent": TRACE}));
    // The same submission again, with another span.
    let again = submitted(&master, OTHER, "one", &body).await;
    assert_eq!((&again["id"], &again["labels"]), (&job["id"], &job["labels"]));
    let claimed = master.claim("w").await.expect("a job");
    assert_eq!(claimed.job.spec.labels["traceparent"], TRACE);
    for wrong in ["", "mine", "00-0-0-01"] {
        let job = submitted(&master, wrong, &format!("key{wrong}"), &body).await;
        assert_eq!(job["labels"], json!({"team": "a"}), "{wrong:?} is not a valid trace");
    }
}

//! Jobs with a start time.

use orchestra_contracts::Span;
use serde_json::{Value, json};

use crate::harness::Master;

/// Initial time of the harness's clock.
const NOW: &str = "2026-01-02T03:04:05Z";
const IN_TEN_MINUTES: &str = "2026-01-02T03:14:05Z";

#[tokio::test]
async fn a_job_put_off_is_pending_and_not_claimed_before_its_time() {
    for start in [json!({"delay": "10m"}), json!({"notBefore": "2026-01-02T04:14:05+01:00"})] {
        let master = Master::start().await;
        let mut spec = json!({"command": "true"});
        spec.as_object_mut().unwrap().extend(start.as_object().unwrap().clone());
        let id = master.submit(spec).await;
        let job = master.job(id).await;
        assert_eq!(
            (&job["status"], &job["notBefore"]),
            (&json!("Pending"), &json!(IN_TEN_MINUTES))
        );
        assert_eq!(job["delay"], Value::Null, "{job}");
        assert_eq!(master.get("/api/job/pending").await.json()[0]["notBefore"], IN_TEN_MINUTES);

        master.clock.advance(Span::from_secs(599));
        assert!(master.claim("w").await.is_none());
        master.clock.advance(Span::from_secs(1));
        let claimed = master.claim("w").await.expect("it is due");
        assert_eq!(claimed.job.id.0, id);
        assert_eq!(master.job(id).await["notBefore"], IN_TEN_MINUTES, "the start time is kept");
    }
}

/// The start time applies only to the first attempt.
#[tokio::test]
async fn who_asks_for_it_again_does_not_wait_again() {
    let master = Master::start().await;
    let id = master.submit(json!({"command": "true", "delay": "10m"})).await;
    master.bare("POST", &format!("/api/job/{id}/cancel")).await;
    assert_eq!(master.bare("POST", &format!("/api/job/{id}/retry")).await.status, 200);
    assert_eq!(master.job(id).await["notBefore"], Value::Null);
    assert!(master.claim("w").await.is_some());
}

#[tokio::test]
async fn what_lies_in_the_past_is_begun_at_once_and_a_year_is_the_most() {
    let master = Master::start().await;
    for start in ["1970-01-01T00:00:00Z", NOW] {
        master.submit(json!({"command": "true", "notBefore": start})).await;
        assert!(master.claim("w").await.is_some());
    }
    master.submit(json!({"command": "true", "notBefore": "2027-01-02T09:04:05Z"})).await;
    let reply =
        master.post("/api/job", json!({"command": "x", "notBefore": "2027-01-02T09:04:05.001Z"}));
    let error = reply.await.json()["errors"][0].clone();
    assert_eq!(error, json!({"pointer": "/notBefore", "detail": "is more than 1year from now"}));
}

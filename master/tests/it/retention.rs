//! What the operator lets go, as upkeep does it and people see it.

use orchestra_contracts::Span;
use orchestra_master::service::{Keep, Retention};
use serde_json::json;

use crate::harness::{Master, out};

/// A job that has written a line and ended.
async fn ended(master: &Master) -> i64 {
    let claimed = master.running(json!({"command": "true"})).await;
    let head = master.stored(&claimed, &[out("a line\n")], 0).await;
    let end = json!({
        "status": "Completed", "exitCode": 0, "log": {"offset": head.offset, "crc32": head.crc32},
    });
    let reply = master.report(&claimed, "w", end).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    claimed.job.id.0
}

/// All that upkeep would do until it finds nothing more.
async fn keep_within_bounds(master: &Master) -> usize {
    let mut dropped = 0;
    loop {
        match master.service.keep_within_bounds().await.unwrap() {
            0 => return dropped,
            more => dropped += more,
        }
    }
}

#[tokio::test]
async fn what_is_kept_is_what_the_settings_say_from_then_on() {
    let master = Master::start().await;
    let hour = Span::from_secs(3600);
    let old = ended(&master).await;
    master.clock.advance(hour);
    let [second, third] = [ended(&master).await, ended(&master).await];
    assert_eq!(keep_within_bounds(&master).await, 0, "nothing goes unless it is said");

    let age = Keep { age: Some(Span::from_secs(1800)), most: None };
    master.service.retain(Retention { logs: age, ..Retention::default() });
    assert_eq!(keep_within_bounds(&master).await, 1);
    assert!(master.get(&format!("/api/job/{old}/log")).await.text().contains("7 bytes"));
    assert_eq!(master.get(&format!("/api/job/{second}/log")).await.text(), "a line\n");
    assert_eq!(master.job(old).await["output"], "a line\n", "the last lines stay");

    master.service.retain(Retention { jobs: age, ..Retention::default() });
    assert_eq!(keep_within_bounds(&master).await, 1);
    assert_eq!(master.get(&format!("/api/job/{old}")).await.status, 404);

    let one = Keep { age: None, most: Some(1) };
    master.service.retain(Retention { jobs: one, ..Retention::default() });
    assert_eq!(keep_within_bounds(&master).await, 1);
    assert_eq!(master.get(&format!("/api/job/{second}")).await.status, 404);
    assert_eq!(master.get(&format!("/api/job/{third}")).await.status, 200);
    // By the clock of the master, and not before it is a minute since nothing was to be done.
    master.clock.advance(hour);
    assert_eq!(keep_within_bounds(&master).await, 0);
}

//! That the numbers of jobs that are kept are those that a count finds.

use orchestra_contracts::{AttemptNo, JobId, JobSpec, Outcome};

use super::{Place, at, claim_spec};
use crate::{
    domain::{AttemptResults, JobEvent, Proof},
    store::{ClaimSpec, QueueRecord, SqliteStore, Store as _},
};

fn specs(queue: &str, count: usize) -> Vec<JobSpec> {
    vec![JobSpec { queue: queue.to_owned(), ..JobSpec::new("true") }; count]
}

fn numbers(queues: &[QueueRecord]) -> Vec<(&str, u64, u64)> {
    queues.iter().map(|queue| (queue.name.as_str(), queue.pending, queue.held)).collect()
}

/// Ends the job as its holder would.
async fn end(store: &SqliteStore, id: JobId, outcome: Outcome) {
    let job = store.job(id).await.unwrap().unwrap();
    let lease = job.lease().expect("it is held");
    let proof = Proof {
        worker: lease.worker.clone(),
        token: lease.token.clone(),
        attempt: Some(AttemptNo(job.attempts)),
    };
    let event = JobEvent::Ended {
        proof,
        outcome,
        usage: None,
        log: None,
        tail: None,
        results: AttemptResults::default(),
    };
    store.apply(id, event, at(2)).await.unwrap().unwrap().result.unwrap();
}

#[tokio::test]
async fn the_numbers_that_are_kept_are_those_that_are_there() {
    let place = Place::new();
    let store = place.open().await;
    store.insert(specs("one", 6), at(0).now).await.unwrap();
    store.insert(specs("two", 3), at(0).now).await.unwrap();
    // One whose record is damaged is set aside when it is to be handed out.
    sqlx::query("UPDATE job SET spec = '{}' WHERE id = 2")
        .execute(&mut place.outsider().await)
        .await
        .unwrap();
    for request in ["a", "b", "c", "d"] {
        let claim = ClaimSpec { queues: vec!["one".to_owned()], ..claim_spec(request) }.into();
        assert_eq!(store.claim(vec![claim], at(1)).await.unwrap()[0].len(), 1);
    }
    end(&store, JobId(1), Outcome::Exited { code: 0 }).await;
    end(&store, JobId(3), Outcome::HandedBack).await;
    for (id, event) in [
        (6, JobEvent::CancelRequested),
        (7, JobEvent::DeleteRequested),
        (8, JobEvent::CancelRequested),
        (8, JobEvent::RetryRequested),
    ] {
        store.apply(JobId(id), event, at(3)).await.unwrap().unwrap().result.unwrap();
    }
    let kept = store.queues().await.unwrap();
    assert_eq!(numbers(&kept), [("one", 1, 2), ("two", 2, 0)]);
    store.close().await;
    // Whoever opens it counts.
    let counted = place.open().await.queues().await.unwrap();
    assert_eq!(numbers(&counted), numbers(&kept));
}

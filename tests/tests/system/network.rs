//! Networks that reset, drop, delay and partition: no byte is lost, no job is duplicated, and a worker
//! that is cut off ends what it may not keep.

use std::{net::SocketAddr, time::Duration};

use orchestra_contracts::{JobStatus, Outcome};
use orchestra_tests::{Namespace, Plan, Proxy, Stack, Toxic, Way, engine, skip, wait};
use serde_json::json;
use tokio::time::sleep;

use crate::crashes::{numbered, until_log_has};

fn link(stack: &Stack) -> &Proxy {
    stack.workers[0].link.as_ref().expect("the plan is proxied")
}

#[tokio::test]
async fn a_log_is_exact_whatever_the_network_does() {
    const LINES: usize = 600;
    let Some(stack) = Plan::default().proxied().start().await else { return };
    let command =
        format!("for ((i = 1; i <= {LINES}; i++)); do echo \"line $i\"; sleep 0.04; done");
    let job = stack.api.command(&command).await;
    until_log_has(&stack, job.id, 1).await;
    let toxics = [
        Toxic::CutAfter(100),
        Toxic::Latency(Duration::from_millis(300)),
        Toxic::CutAfter(700),
        Toxic::DropAnswers,
        Toxic::BlackHole,
        Toxic::Trickle(100),
        Toxic::HalfOpen,
        Toxic::CutAfter(3_000),
    ];
    for toxic in toxics {
        link(&stack).set(toxic);
        sleep(Duration::from_millis(1_500)).await;
        link(&stack).heal();
        sleep(Duration::from_millis(300)).await;
        link(&stack).cut();
    }
    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 0), "{job:?}");
    assert_eq!(job.attempt.map(|attempt| attempt.0), Some(1), "no break costs an attempt");
    assert_eq!(stack.api.log(job.id, "").await, numbered(LINES));
    stack.stop().await;
}

#[tokio::test]
async fn an_answer_to_a_claim_that_is_lost_costs_no_attempt() {
    let Some(stack) = Plan::default().proxied().start().await else { return };
    // The worker must be past its registration, since that answer could be lost too: the master lists a
    // worker before the worker knows that it is registered.
    let first = stack.api.command("true").await;
    stack.api.finished(first.id).await;
    link(&stack).set(Toxic::DropAnswers);
    let job = stack.api.command("echo once").await;
    stack.api.reaches(job.id, JobStatus::Assigned).await;
    sleep(Duration::from_secs(1)).await;
    link(&stack).heal();
    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.output.as_str()), (JobStatus::Completed, "once\n"), "{job:?}");
    assert_eq!(stack.api.attempts(job.id).await.len(), 1, "it did not wait for a lease to expire");
    stack.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_parted_from_its_master_ends_its_job_before_the_next_attempt() {
    if !engine::is_there().await {
        return;
    }
    let Some(namespace) = Namespace::new().await else { return };
    let plan = Plan::default().workers(0).shared_files().setting("ORCHESTRA_LEASE", "5s");
    let plan = plan.setting("ORCHESTRA_HOSTS", namespace.host.to_string());
    let mut stack = plan.start().await.expect("a master alone needs no engine");
    orchestra_tests::program::job_image().await;
    let door = Proxy::at(SocketAddr::from((namespace.host, 0)), stack.address()).await;
    let before = namespace.enter();
    let url = Some(format!("http://{}", door.address));
    stack.add_worker_by(Way { url, before, ..Way::default() }).await;

    let command = "[ -e begun ] && echo again && exit; touch begun; \
                   i=0; while true; do i=$((i + 1)); echo \"line $i\"; sleep 0.05; done";
    let job = stack.api.submit(&json!({"command": command, "maxRetries": 1})).await;
    until_log_has(&stack, job.id, 100).await;
    let mut first = stack.take_worker();
    stack.add_worker().await;
    if let Err(why) = namespace.part().await {
        skip("partitions", &why);
        first.program.terminate().await;
        return stack.stop().await;
    }
    let next = async {
        wait::until("the next attempt", wait::SOON, async || {
            (stack.api.attempts(job.id).await.len() > 1).then_some(())
        })
        .await;
        engine::running(&first.name).await
    };
    assert_eq!(next.await, Vec::<String>::new(), "two containers of the job ran at once");
    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 0), "{job:?}");
    let stored = stack.api.log(job.id, "?attempt=1").await;

    namespace.join().await;
    engine::all_gone(&first.name).await;
    wait::until("the worker to be heard of again", wait::SOON, async || {
        let workers = stack.api.workers().await;
        workers
            .iter()
            .any(|worker| worker.online && worker.name.as_str() == first.name)
            .then_some(())
    })
    .await;
    let attempts = stack.api.attempts(job.id).await;
    let outcomes: Vec<_> = attempts.into_iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Lost), Some(Outcome::Exited { code: 0 })]);
    let log = stack.api.log(job.id, "?attempt=1").await;
    assert_eq!(log, stored, "nothing was added late");
    let log = String::from_utf8(log.to_vec()).expect("it is text");
    assert_eq!(log, numbered(log.lines().count()), "a prefix of what it wrote");
    first.program.terminate().await;
    stack.stop().await;
}

//! A defect of the worker in the middle of a job: the task that runs the attempt panics. The
//! container is a real one.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use orchestra_contracts::{AttemptNo, JobId, JobStatus, Outcome, worker::Registration};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{super::DockerExecutor, lab::Lab};
use crate::{
    claim::{Terms, Worker},
    control::Orders,
    executor::{End, Executor, Left, RunEvent, RunSpec, Trouble},
    testing::{FakeMaster, claimed, worker},
};

/// Generous, because the machine may be busy.
const SOON: Duration = Duration::from_mins(1);
const BROKEN: JobId = JobId(1);

/// Runs jobs as the real executor does, but panics on one of them as soon as it has written
/// something.
struct Defective(Arc<DockerExecutor>);

#[async_trait]
impl Executor for Defective {
    async fn run(
        &self,
        spec: RunSpec,
        orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        let job = spec.job;
        let (sender, mut said) = mpsc::channel(1);
        let pass_on = async {
            while let Some(event) = said.recv().await {
                let is_output = matches!(event, RunEvent::Frame(_));
                events.send(event).await.unwrap();
                assert!(!is_output || job != BROKEN, "as a defect would");
            }
        };
        tokio::join!(self.0.run(spec, orders, sender), pass_on).0
    }

    async fn ready(&self) {
        self.0.ready().await;
    }

    fn health(&self) -> watch::Receiver<Option<Trouble>> {
        self.0.health()
    }

    async fn left_of(&self, job: JobId, attempt: AttemptNo) -> Left {
        self.0.left_of(job, attempt).await
    }

    async fn tidy(&self) {
        self.0.tidy().await;
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

#[tokio::test]
async fn a_panic_costs_one_job_and_leaves_no_container() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let master = FakeMaster::scripted(&[]);
    let registration = Registration { slots: 1, ..Registration::default() };
    let terms = Terms { name: worker("w"), registration, grace: SOON };
    let executor = Arc::new(Defective(lab.executor.clone()));
    let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
    let serving = Worker::new(master.clone(), executor, terms).serve(soft.clone(), hard);
    let watching = async {
        master.offer(claimed(BROKEN.0, "echo ready; sleep 1000"));
        let end = timeout(SOON, master.updated(BROKEN.0, JobStatus::Failed)).await.unwrap();
        match end.outcome {
            Some(Outcome::CouldNotStart { reason }) => {
                assert!(reason.contains("a defect of the worker: as a defect would"), "{reason}");
            }
            outcome => panic!("{outcome:?}"),
        }
        timeout(SOON, lab.executor_is_quiet()).await.expect("its container goes");
        master.offer(claimed(2, "exit 0"));
        timeout(SOON, master.updated(2, JobStatus::Completed)).await.expect("the worker goes on");
        soft.cancel();
    };
    tokio::join!(serving, watching);
    lab.close().await;
}

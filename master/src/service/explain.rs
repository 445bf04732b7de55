//! Why a job waits, who holds it, or how it ended.

use orchestra_contracts::{
    JobId, QueueName,
    explain::{Awaited, Explanation, Lack, LackOf, Reason},
    worker::Worker,
};

use super::{Service, ServiceError};
use crate::domain::{self, ExplainContext, Hold, Job, JobState, WorkerMatch};

impl Service {
    pub async fn explain(&self, id: JobId) -> Result<Explanation, ServiceError> {
        let job = self.find(id).await?;
        let causes = domain::explain(&job, self.context(&job).await?);
        let reasons = causes.into_iter().map(Reason::from).collect();
        let status = job.status();
        let warnings =
            if status.is_final() { Vec::new() } else { self.warnings(&job.spec).await? };
        Ok(Explanation { job: id, status, reasons, warnings })
    }

    async fn context(&self, job: &Job) -> Result<ExplainContext, ServiceError> {
        let (now, offers) = (self.clock.now(), self.offers().await?);
        let (name, demand) = (&job.spec.queue, job.spec.demand());
        let queue: QueueName = name.parse().map_err(|_| ServiceError::NoSuchJob(job.id))?;
        let record = self.store.queues().await?.into_iter().find(|record| record.name == queue);
        let serves = |worker: &Worker| worker.registration.queues.contains(name);
        let workers = self.workers().await?.into_iter().filter(serves);
        let worker_match = |worker: Worker| {
            let mut lacks = offers.lacks(&worker.name, name, &demand, now);
            lacks.extend(of_itself(&worker));
            WorkerMatch {
                lacks,
                online: worker.online,
                running: worker.running.len() as u64,
                slots: worker.registration.slots.into(),
                worker: worker.name,
            }
        };
        Ok(ExplainContext {
            now,
            rules: record.as_ref().map(|record| record.rules).unwrap_or_default(),
            held: record.map_or(0, |record| record.held),
            ahead: self.store.ahead(job).await?,
            workers: workers.map(worker_match).collect(),
            awaited: self.awaited(job).await?,
            queue,
        })
    }

    /// The jobs that it waits for and that have not ended.
    async fn awaited(&self, job: &Job) -> Result<Vec<Awaited>, ServiceError> {
        let mut awaited = Vec::new();
        if !matches!(job.state, JobState::Pending { hold: Some(Hold::Jobs), .. }) {
            return Ok(awaited);
        }
        for (needs, upstream) in job.spec.waits_for() {
            let Some(id) = upstream.id() else { continue };
            let status = self.store.job(id).await?.map(|job| job.status());
            if let Some(status) = status.filter(|status| !status.is_final()) {
                awaited.push(Awaited { job: id, status, needs });
            }
        }
        Ok(awaited)
    }
}

/// Why a worker takes no job at all.
fn of_itself(worker: &Worker) -> Vec<Lack> {
    let drained = worker.draining_since.map(|since| {
        let text = format!("has been drained since {since}");
        Lack { what: LackOf::Draining, text }
    });
    let unwell = worker.unwell.as_ref().map(|reason| {
        let text = format!("starts no jobs: {reason}");
        Lack { what: LackOf::Unwell, text }
    });
    drained.into_iter().chain(unwell).collect()
}

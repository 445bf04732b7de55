//! Lists queues, pauses and bounds them; drains workers.

use std::collections::BTreeMap;

use orchestra_contracts::{Queue, QueueChange, QueueName, WorkerName, worker::Worker};

use super::{Service, ServiceError, signed};
use crate::store::QueueRecord;

/// The largest bound: more than all workers together can hold.
const MAX_CONCURRENCY: u32 = 1_000_000;

impl Service {
    /// The queues that have rules, open jobs or a worker, by name.
    pub async fn queues(&self) -> Result<Vec<Queue>, ServiceError> {
        let queues = self.store.queues().await?.into_iter().map(shown);
        let mut all: BTreeMap<QueueName, Queue> =
            queues.map(|queue| (queue.name.clone(), queue)).collect();
        let online_since = self.clock.now() - signed(self.settings.lease);
        for worker in self.store.workers().await? {
            if worker.seen_at < online_since {
                continue;
            }
            for name in worker.registration.queues.iter().flat_map(|name| name.parse()) {
                all.entry(name).or_insert_with_key(|name| empty(name.clone())).workers += 1;
            }
        }
        Ok(all.into_values().collect())
    }

    /// Pauses, resumes or bounds a queue. Running jobs go on in every case.
    pub async fn change_queue(
        &self,
        name: QueueName,
        change: QueueChange,
    ) -> Result<Queue, ServiceError> {
        if change.concurrency.flatten().is_some_and(|most| !(1..=MAX_CONCURRENCY).contains(&most)) {
            let detail = format!("is not 1 to {MAX_CONCURRENCY}; null takes the bound away");
            return Err(ServiceError::field("/concurrency", detail));
        }
        let rules = self.store.change_queue(&name, change, self.clock.now()).await?;
        tracing::info!(queue = %name, paused = rules.paused_since.is_some(), concurrency = rules.concurrency, "a queue was changed");
        self.dispatcher.look_again();
        let queue = self.queues().await?.into_iter().find(|queue| queue.name == name);
        Ok(queue.unwrap_or_else(|| empty(name)))
    }

    /// Starts or stops draining a worker, which gets no new jobs meanwhile. Draining outlasts
    /// restarts of master and worker.
    pub async fn drain(&self, name: &WorkerName, draining: bool) -> Result<Worker, ServiceError> {
        let no_such_worker = || ServiceError::NoSuchWorker(name.clone());
        let drained = self.store.drain(name, draining, self.clock.now()).await?;
        drained.ok_or_else(no_such_worker)?;
        self.offers.note_drain(name, draining);
        tracing::info!(worker = %name, draining, "a worker is drained, or not any more");
        // What others leave to it may be theirs now, or not any more.
        self.dispatcher.look_again();
        let worker = self.workers().await?.into_iter().find(|worker| worker.name == *name);
        worker.ok_or_else(no_such_worker)
    }
}

fn shown(record: QueueRecord) -> Queue {
    Queue {
        paused: record.rules.paused_since.is_some(),
        paused_since: record.rules.paused_since,
        concurrency: record.rules.concurrency,
        pending: record.pending,
        running: record.held,
        ..empty(record.name)
    }
}

fn empty(name: QueueName) -> Queue {
    let (paused_since, concurrency) = (None, None);
    Queue { name, paused: false, paused_since, concurrency, pending: 0, running: 0, workers: 0 }
}

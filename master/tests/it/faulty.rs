//! A store that fails where a test wants it to: before an operation, or after it with the answer lost.
//! Operations are counted, so that a test can inject a fault at each of them.

mod store;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use orchestra_master::store::{Store, StoreError};
use tokio::sync::watch;

/// Where an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing was done.
    Before,
    /// It was done, but the answer is lost.
    After,
}

/// Which operations fail.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Plan {
    #[default]
    Nothing,
    /// The operation with this number, counted from 1.
    Once(usize, Fault),
    /// Every write, as on a full disk.
    Writes,
}

#[derive(Debug)]
pub(crate) struct FaultyStore {
    store: Arc<dyn Store>,
    plan: Mutex<Plan>,
    operations: AtomicUsize,
    log_reads: AtomicUsize,
    /// While true, writes wait as for a slow disk.
    stalled: watch::Sender<bool>,
}

impl FaultyStore {
    pub(crate) fn over(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            plan: Mutex::default(),
            operations: AtomicUsize::new(0),
            log_reads: AtomicUsize::new(0),
            stalled: watch::Sender::new(false),
        })
    }

    pub(crate) fn plan(&self, plan: Plan) {
        *self.plan.lock().unwrap() = plan;
    }

    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> usize {
        self.operations.load(Ordering::SeqCst)
    }

    /// How often pieces of logs were read.
    pub(crate) fn log_reads(&self) -> usize {
        self.log_reads.load(Ordering::SeqCst)
    }

    async fn write<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        // The wait cannot fail: the sender lives as long as `self`.
        let _ = self.stalled.subscribe().wait_for(|stalled| !stalled).await;
        if matches!(*self.plan.lock().unwrap(), Plan::Writes) {
            self.operations.fetch_add(1, Ordering::SeqCst);
            return Err(failure());
        }
        self.read(operation).await
    }

    async fn read<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = match *self.plan.lock().unwrap() {
            Plan::Once(which, fault) if which == number => Some(fault),
            _ => None,
        };
        match fault {
            None => operation.await,
            Some(Fault::Before) => Err(failure()),
            Some(Fault::After) => operation.await.and(Err(failure())),
        }
    }
}

fn failure() -> StoreError {
    StoreError::Unavailable { reason: "a test wants it so".to_owned(), hint: "try again" }
}

//! Signals a worker that there is an order for it: one of its jobs is to end.
//!
//! A signal carries no order: the worker sends a heartbeat, and the reply has the order. So a
//! spurious signal does no harm, several workers may share a counter, and the number of counters is
//! fixed, however many worker names there are.

use std::hash::{BuildHasher, RandomState};

use orchestra_contracts::WorkerName;
use tokio::sync::watch;

const SHARDS: usize = 256;
/// The low bits of a count count signals; the high bits tell masters apart.
const COUNT_BITS: u32 = 32;

/// One counter of signals for each shard of the workers. A worker that knows the last count misses no
/// signal between two calls.
#[derive(Debug)]
pub struct OrderSignals {
    counters: Vec<watch::Sender<u64>>,
    hasher: RandomState,
}

impl Default for OrderSignals {
    /// Starts at a number that no other master's counters start at or reach.
    fn default() -> Self {
        let first = u64::from(rand::random::<u16>()) << COUNT_BITS;
        let counters = (0..SHARDS).map(|_| watch::Sender::new(first)).collect();
        Self { counters, hasher: RandomState::new() }
    }
}

impl OrderSignals {
    /// Signals that the database has an order for this worker.
    pub fn signal(&self, worker: &WorkerName) {
        self.counter(worker).send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Signals that there may be an order for any worker.
    pub fn signal_all(&self) {
        for counter in &self.counters {
            counter.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// How many signals there were for this worker's shard.
    pub fn count(&self, worker: &WorkerName) -> u64 {
        *self.counter(worker).borrow()
    }

    /// Whether the count is from another master, or from this one before a restart.
    pub fn is_of_another(&self, worker: &WorkerName, count: u64) -> bool {
        count >> COUNT_BITS != self.count(worker) >> COUNT_BITS
    }

    /// Waits until the count differs from `known`, and returns it.
    pub async fn other_than(&self, worker: &WorkerName, known: u64) -> u64 {
        let mut count = self.counter(worker).subscribe();
        let other = count.wait_for(|count| *count != known).await.map(|count| *count);
        other.expect("the counters live as long as `self` is borrowed")
    }

    fn counter(&self, worker: &WorkerName) -> &watch::Sender<u64> {
        let hash = self.hasher.hash_one(worker);
        &self.counters[hash as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_ring_between_two_looks_is_not_missed() {
        let (counters, worker) = (OrderSignals::default(), "w".parse().unwrap());
        let known = counters.count(&worker);
        assert!(counters.other_than(&worker, known).now_or_never().is_none());
        counters.signal(&worker);
        let count = counters.other_than(&worker, known).now_or_never().unwrap();
        assert!(
            !counters.is_of_another(&worker, count)
                && counters.is_of_another(&worker, count ^ (1 << 40))
        );
        assert_eq!(count, counters.count(&worker));
        assert!(counters.other_than(&worker, count).now_or_never().is_none());
    }
}

//! Rings when a worker has to be told something: that one of its jobs is to end.
//!
//! A bell carries no order: the worker sends a heartbeat and is told by that. So
//! a ring that nobody needed does no harm, workers may share a bell, and their
//! number is fixed, however many names there are.

use std::hash::{BuildHasher, RandomState};

use orchestra_contracts::WorkerName;
use tokio::sync::watch;

const BELLS: usize = 256;
/// Bits of a count that the rings have; those above are the master's.
const RINGS: u32 = 32;

/// Each counts its rings, so that none is missed between two calls.
#[derive(Debug)]
pub struct Bells {
    bells: Vec<watch::Sender<u64>>,
    hasher: RandomState,
}

impl Default for Bells {
    /// Counts from a number that another master's bells do not begin with, nor come to.
    fn default() -> Self {
        let first = u64::from(rand::random::<u16>()) << RINGS;
        let bells = (0..BELLS).map(|_| watch::Sender::new(first)).collect();
        Self { bells, hasher: RandomState::new() }
    }
}

impl Bells {
    /// What there is to be told is stored.
    pub fn ring(&self, worker: &WorkerName) {
        self.bell(worker).send_modify(|rings| *rings = rings.wrapping_add(1));
    }

    /// Any worker may have something to be told.
    pub fn ring_all(&self) {
        for bell in &self.bells {
            bell.send_modify(|rings| *rings = rings.wrapping_add(1));
        }
    }

    pub fn rings(&self, worker: &WorkerName) -> u64 {
        *self.bell(worker).borrow()
    }

    /// Whether it was another master, or this one before a restart, that counted so.
    pub fn is_of_another(&self, worker: &WorkerName, count: u64) -> bool {
        count >> RINGS != self.rings(worker) >> RINGS
    }

    /// Returns when the count is another than `known`, with what it is.
    pub async fn other_than(&self, worker: &WorkerName, known: u64) -> u64 {
        let mut rings = self.bell(worker).subscribe();
        let other = rings.wait_for(|rings| *rings != known).await.map(|rings| *rings);
        other.expect("the bells hang as long as somebody borrows them")
    }

    fn bell(&self, worker: &WorkerName) -> &watch::Sender<u64> {
        let hash = self.hasher.hash_one(worker);
        &self.bells[hash as usize % BELLS]
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_ring_between_two_looks_is_not_missed() {
        let (bells, worker) = (Bells::default(), "w".parse().unwrap());
        let known = bells.rings(&worker);
        assert!(bells.other_than(&worker, known).now_or_never().is_none());
        bells.ring(&worker);
        let rings = bells.other_than(&worker, known).now_or_never().unwrap();
        assert!(
            !bells.is_of_another(&worker, rings) && bells.is_of_another(&worker, rings ^ (1 << 40))
        );
        assert_eq!(rings, bells.rings(&worker));
        assert!(bells.other_than(&worker, rings).now_or_never().is_none());
    }
}

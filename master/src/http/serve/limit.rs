//! Limits the connections of a listener, so that no client can take them all. At the limit the
//! connection that has been idle for longest is closed for a new one, and a part of the busy
//! connections is reserved for workers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::http::access::Rule;

/// One of this many connections is reserved for workers.
const RESERVED: usize = 8;
/// Connections that were told to close still exist for a moment: at most this many above the limit.
const LEAVING: usize = 64;

/// The limit on the connections of a listener.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Connections without a request in progress, those idle for longest first.
    idle: BTreeMap<u64, CancellationToken>,
    /// The last key in `idle`. It increases with every entry.
    next: u64,
    /// Number of requests in progress that are not a worker's.
    others: usize,
}

/// The permit of one open connection.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limit: Arc<ConnectionLimit>,
    leave: CancellationToken,
    /// The connection's key in `idle`, while it is idle.
    idle: Mutex<Option<u64>>,
}

/// A request in progress. Dropped, it makes the connection idle again.
#[derive(Debug)]
pub(super) struct ActiveRequest {
    connection: Arc<ConnectionPermit>,
    slot: RequestSlot,
}

/// An extension of each request that came over a connection. The access check tells it whether the
/// request is a worker's.
#[derive(Clone, Debug)]
pub(in crate::http) struct RequestSlot {
    limit: Arc<ConnectionLimit>,
    is_worker: Arc<Mutex<bool>>,
}

impl ConnectionLimit {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, state: Mutex::default() })
    }

    /// Returns a permit for a new connection: a free one, or that of the connection that has been
    /// idle for longest. `None` if all connections are busy.
    pub(super) fn acquire(self: &Arc<Self>) -> Option<Arc<ConnectionPermit>> {
        let leave = CancellationToken::new();
        let mut state = self.lock();
        if state.taken >= self.most {
            if state.taken >= self.most.saturating_add(LEAVING) {
                return None;
            }
            let (_, longest) = state.idle.pop_first()?;
            longest.cancel();
        }
        state.taken += 1;
        let key = state.rest(leave.clone());
        drop(state);
        Some(Arc::new(ConnectionPermit { limit: self.clone(), leave, idle: Mutex::new(Some(key)) }))
    }

    /// Maximum number of concurrent requests that are not a worker's.
    fn for_others(&self) -> usize {
        self.most - self.most / RESERVED
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn rest(&mut self, leave: CancellationToken) -> u64 {
        self.next += 1;
        self.idle.insert(self.next, leave);
        self.next
    }
}

impl ConnectionPermit {
    /// Waits until this connection has to close for a new one.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.cancelled().await;
    }

    /// Begins a request. It counts as a client's until the access check knows better.
    pub(super) fn begin(self: &Arc<Self>) -> ActiveRequest {
        let mut idle = self.idle();
        let mut state = self.limit.lock();
        if let Some(key) = idle.take() {
            state.idle.remove(&key);
        }
        state.others += 1;
        drop((state, idle));
        let is_worker = Arc::new(Mutex::new(false));
        ActiveRequest {
            connection: self.clone(),
            slot: RequestSlot { limit: self.limit.clone(), is_worker },
        }
    }

    fn idle(&self) -> MutexGuard<'_, Option<u64>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let key = self.idle().take();
        let mut state = self.limit.lock();
        if let Some(key) = key {
            state.idle.remove(&key);
        }
        state.taken -= 1;
    }
}

impl ActiveRequest {
    pub(super) fn slot(&self) -> RequestSlot {
        self.slot.clone()
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let is_worker = *self.slot.is_worker();
        let mut idle = self.connection.idle();
        let mut state = self.connection.limit.lock();
        state.others -= usize::from(!is_worker);
        *idle = Some(state.rest(self.connection.leave.clone()));
    }
}

impl RequestSlot {
    /// Records who the route is for. Returns `false` if the clients' share of the connections is
    /// used up.
    pub(in crate::http) fn enter(&self, rule: Rule) -> bool {
        let mut is_worker = self.is_worker();
        let mut state = self.limit.lock();
        if rule == Rule::Worker && !*is_worker {
            *is_worker = true;
            state.others -= 1;
        }
        *is_worker || state.others <= self.limit.for_others()
    }

    /// Whether clients have more requests in progress than their share.
    pub(in crate::http) fn is_crowded(&self) -> bool {
        self.limit.lock().others > self.limit.for_others()
    }

    fn is_worker(&self) -> MutexGuard<'_, bool> {
        self.is_worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_idle_for_longest_makes_room() {
        let limit = ConnectionLimit::new(2);
        let (first, second) = (limit.acquire().unwrap(), limit.acquire().unwrap());
        drop(first.begin());
        let third = limit.acquire().unwrap();
        assert!(second.leave.is_cancelled() && !first.leave.is_cancelled());
        drop(second);
        let active = [first.begin(), third.begin()];
        assert!(limit.acquire().is_none(), "nobody is idle");
        drop(active);
        assert!(limit.acquire().is_some());
        drop((first, third));
        let state = limit.lock();
        assert_eq!((state.taken, state.others, state.idle.len()), (0, 0, 0));
    }

    #[test]
    fn a_part_is_kept_for_workers() {
        let limit = ConnectionLimit::new(16);
        let all: Vec<_> = (0..16).map(|_| limit.acquire().unwrap()).collect();
        let active: Vec<_> = all.iter().map(ConnectionPermit::begin).collect();
        assert!(active[0].slot().is_crowded());
        assert!(!active[0].slot().enter(Rule::Client), "16 of 14 are under way");
        assert!(active[0].slot().enter(Rule::Worker));
        assert!(!active[1].slot().enter(Rule::AnyRole));
        assert!(active[1].slot().enter(Rule::Worker) && active[1].slot().enter(Rule::Worker));
        assert!(active[2].slot().enter(Rule::Client), "14 of 14");
        drop(active);
        assert_eq!(limit.lock().others, 0);
    }

    #[test]
    fn those_who_leave_slowly_do_not_add_up() {
        let limit = ConnectionLimit::new(1);
        let slow: Vec<_> = std::iter::from_fn(|| limit.acquire()).take(1000).collect();
        assert_eq!(slow.len(), 1 + LEAVING);
    }
}

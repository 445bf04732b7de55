//! How many connections there are and what each does, so that nobody can take
//! them all: those that ask for nothing make room for those that come, and of
//! those that ask for something a part is kept for workers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::http::access::Rule;

/// One in so many connections is kept for workers.
const KEPT: usize = 8;
/// Those that were asked to leave are there for a moment still.
const LEAVING: usize = 64;

/// All connections of a listener.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Connections on which no request is under way, by how long that is so.
    idle: BTreeMap<u64, CancellationToken>,
    /// Counts up with every entry of `idle`.
    next: u64,
    /// Requests under way that are not a worker's.
    others: usize,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    leave: CancellationToken,
    /// The key in `idle`, while it is there.
    idle: Mutex<Option<u64>>,
}

/// A request that is under way; the connection is idle again when it is dropped.
#[derive(Debug)]
pub(super) struct Busy {
    seat: Arc<Seat>,
    lane: Lane,
}

/// Goes along with a request that came over a connection, so that the gate can
/// say whose it is.
#[derive(Clone, Debug)]
pub(in crate::http) struct Lane {
    seats: Arc<Seats>,
    is_worker: Arc<Mutex<bool>>,
}

impl Seats {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, state: Mutex::default() })
    }

    /// A seat for a new connection: a free one, or that of the connection which
    /// has been idle for longest. `None` when all are busy.
    pub(super) fn sit(self: &Arc<Self>) -> Option<Arc<Seat>> {
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
        Some(Arc::new(Seat { seats: self.clone(), leave, idle: Mutex::new(Some(key)) }))
    }

    /// Requests of others than workers that may be under way at once.
    fn for_others(&self) -> usize {
        self.most - self.most / KEPT
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

impl Seat {
    /// Until somebody else needs the seat more.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.cancelled().await;
    }

    /// A request has begun. It counts as a client's until the gate knows better.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        let mut idle = self.idle();
        let mut state = self.seats.lock();
        if let Some(key) = idle.take() {
            state.idle.remove(&key);
        }
        state.others += 1;
        drop((state, idle));
        let is_worker = Arc::new(Mutex::new(false));
        Busy { seat: self.clone(), lane: Lane { seats: self.seats.clone(), is_worker } }
    }

    fn idle(&self) -> MutexGuard<'_, Option<u64>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let key = self.idle().take();
        let mut state = self.seats.lock();
        if let Some(key) = key {
            state.idle.remove(&key);
        }
        state.taken -= 1;
    }
}

impl Busy {
    pub(super) fn lane(&self) -> Lane {
        self.lane.clone()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let is_worker = *self.lane.is_worker();
        let mut idle = self.seat.idle();
        let mut state = self.seat.seats.lock();
        state.others -= usize::from(!is_worker);
        *idle = Some(state.rest(self.seat.leave.clone()));
    }
}

impl Lane {
    /// Says for whom the route is. False when others than workers have all that
    /// they may have.
    pub(in crate::http) fn enter(&self, rule: Rule) -> bool {
        let mut is_worker = self.is_worker();
        let mut state = self.seats.lock();
        if rule == Rule::Worker && !*is_worker {
            *is_worker = true;
            state.others -= 1;
        }
        *is_worker || state.others <= self.seats.for_others()
    }

    /// Whether others than workers have more than they may have.
    pub(in crate::http) fn is_crowded(&self) -> bool {
        self.seats.lock().others > self.seats.for_others()
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
        let seats = Seats::new(2);
        let (first, second) = (seats.sit().unwrap(), seats.sit().unwrap());
        drop(first.begin());
        let third = seats.sit().unwrap();
        assert!(second.leave.is_cancelled() && !first.leave.is_cancelled());
        drop(second);
        let busy = [first.begin(), third.begin()];
        assert!(seats.sit().is_none(), "nobody is idle");
        drop(busy);
        assert!(seats.sit().is_some());
        drop((first, third));
        let state = seats.lock();
        assert_eq!((state.taken, state.others, state.idle.len()), (0, 0, 0));
    }

    #[test]
    fn a_part_is_kept_for_workers() {
        let seats = Seats::new(16);
        let all: Vec<_> = (0..16).map(|_| seats.sit().unwrap()).collect();
        let busy: Vec<_> = all.iter().map(Seat::begin).collect();
        assert!(busy[0].lane().is_crowded());
        assert!(!busy[0].lane().enter(Rule::Client), "16 of 14 are under way");
        assert!(busy[0].lane().enter(Rule::Worker));
        assert!(!busy[1].lane().enter(Rule::AnyRole));
        assert!(busy[1].lane().enter(Rule::Worker) && busy[1].lane().enter(Rule::Worker));
        assert!(busy[2].lane().enter(Rule::Client), "14 of 14");
        drop(busy);
        assert_eq!(seats.lock().others, 0);
    }

    #[test]
    fn those_who_leave_slowly_do_not_add_up() {
        let seats = Seats::new(1);
        let slow: Vec<_> = std::iter::from_fn(|| seats.sit()).take(1000).collect();
        assert_eq!(slow.len(), 1 + LEAVING);
    }
}

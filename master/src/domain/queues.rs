//! An operator's rules for a queue, and how many jobs they leave for claims.

use jiff::Timestamp;
use orchestra_contracts::QueueChange;

/// Rules for one queue. The default is no restriction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueRules {
    pub paused_since: Option<Timestamp>,
    /// Maximum number of its jobs that workers may hold at once.
    pub concurrency: Option<u32>,
}

impl QueueRules {
    /// The rules after a change. Pausing a paused queue keeps its original pause time.
    #[must_use]
    pub fn changed(self, change: QueueChange, now: Timestamp) -> Self {
        Self {
            paused_since: match change.paused {
                Some(true) => Some(self.paused_since.unwrap_or(now)),
                Some(false) => None,
                None => self.paused_since,
            },
            concurrency: change.concurrency.unwrap_or(self.concurrency),
        }
    }

    /// How many more jobs may be handed out while `held` are held. `None` means any number.
    pub fn room(&self, held: usize) -> Option<usize> {
        if self.paused_since.is_some() {
            return Some(0);
        }
        let most = usize::try_from(self.concurrency?).unwrap_or(usize::MAX);
        Some(most.saturating_sub(held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::UNIX_EPOCH;

    fn rules(paused: bool, concurrency: Option<u32>) -> QueueRules {
        QueueRules { paused_since: paused.then_some(NOON), concurrency }
    }

    #[test]
    fn what_is_held_takes_room_and_a_pause_all_of_it() {
        assert_eq!(QueueRules::default().room(1000), None);
        assert_eq!(
            [0, 2, 3, 9].map(|held| rules(false, Some(3)).room(held)),
            [3, 1, 0, 0].map(Some)
        );
        assert_eq!(rules(true, None).room(0), Some(0));
        assert_eq!(rules(true, Some(3)).room(0), Some(0));
    }

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let later = NOON + jiff::SignedDuration::from_secs(9);
        let change = |paused, concurrency| QueueChange { paused, concurrency };
        let changed = rules(true, Some(3)).changed(change(Some(true), None), later);
        assert_eq!(changed, rules(true, Some(3)), "paused since the first time");
        assert_eq!(changed.changed(change(Some(false), None), later), rules(false, Some(3)));
        assert_eq!(changed.changed(change(None, Some(None)), later), rules(true, None));
        let paused = QueueRules::default().changed(change(Some(true), Some(Some(1))), later);
        assert_eq!(paused, QueueRules { paused_since: Some(later), concurrency: Some(1) });
    }
}

//! A bounded set of label values: users choose the names of queues, and each name is a time series
//! that Prometheus keeps.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
};

/// The shared name. Not a valid name of a queue or worker.
pub(super) const OTHER: &str = "(other)";

/// The first `most` names that are seen.
pub(super) struct Names {
    most: usize,
    known: RwLock<BTreeSet<String>>,
}

impl Names {
    pub(super) fn new(most: usize) -> Self {
        Self { most, known: RwLock::default() }
    }

    /// The name itself, or the shared name if the set is full.
    pub(super) fn of<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.known.read().unwrap_or_else(PoisonError::into_inner).contains(name) {
            return name.into();
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < self.most {
            known.insert(name.to_owned());
        }
        if known.contains(name) { name.into() } else { OTHER.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_come_first_keep_their_names() {
        let names = Names::new(2);
        for _ in 0..2 {
            assert_eq!(["a", "b", "c", "d"].map(|name| names.of(name)), ["a", "b", OTHER, OTHER]);
        }
    }
}

//! A bounded set of names: whoever submits jobs chooses the names of queues, and each name is a
//! series that Prometheus keeps.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
};

/// No queue and no worker can be called so.
pub(super) const OTHER: &str = "(other)";

/// The first so many names that come.
pub(super) struct Names {
    most: usize,
    known: RwLock<BTreeSet<String>>,
}

impl Names {
    pub(super) fn new(most: usize) -> Self {
        Self { most, known: RwLock::default() }
    }

    /// The name, or that of all others.
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

//! How many sandboxes of which kind are to wait: pure arithmetic, what waits is any `T`, and a
//! kind is any `K`: an image as jobs name it, and what else is fixed when a container is made.
//!
//! A job that finds none has its kind get one more; what nobody needed for a while is one too
//! many. All kinds together have a bound, and who was not used for longest makes room. The
//! kind that was used last keeps the fewest that there are to be.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

pub(super) struct Shelves<K, T> {
    least: usize,
    most: usize,
    /// The one that was used last stands first.
    all: Vec<Shelf<K, T>>,
    closed: bool,
}

/// Of one kind.
struct Shelf<K, T> {
    kind: K,
    /// The id of its image: an edit of its folder makes it another.
    image: String,
    /// The oldest first.
    ready: VecDeque<T>,
    target: usize,
    /// So many of the target nobody needed since then.
    spare: usize,
    since: Instant,
}

impl<K, T> Shelf<K, T> {
    fn shrink_to(&mut self, target: usize) -> impl Iterator<Item = T> {
        self.target = target;
        self.spare = self.spare.min(target);
        self.ready.drain(..self.ready.len().saturating_sub(target))
    }
}

impl<K: Clone + PartialEq, T> Shelves<K, T> {
    pub(super) fn new((least, most): (usize, usize)) -> Self {
        Self { least, most, all: Vec::new(), closed: false }
    }

    pub(super) fn is_off(&self) -> bool {
        self.closed || self.most == 0
    }

    /// For a kind that nobody has used yet: the fewest that there are to be.
    pub(super) fn stock(&mut self, kind: &K, image: &str, now: Instant) {
        self.use_shelf(kind, image, now);
        while self.total() < self.least {
            self.raise();
        }
    }

    /// For a job of this kind: the one that has waited longest. What is not of this image any
    /// more goes to `gone`.
    pub(super) fn take(
        &mut self,
        kind: &K,
        image: &str,
        now: Instant,
        gone: &mut Vec<T>,
    ) -> Option<T> {
        gone.extend(self.use_shelf(kind, image, now));
        let shelf = &mut self.all[0];
        let taken = shelf.ready.pop_front();
        shelf.spare = shelf.spare.min(shelf.ready.len());
        if taken.is_none() {
            gone.extend(self.raise());
        }
        taken
    }

    /// Puts the kind's shelf first, and empties it where the image has become another.
    fn use_shelf(&mut self, kind: &K, image: &str, now: Instant) -> VecDeque<T> {
        let found = self.all.iter().position(|shelf| shelf.kind == *kind);
        let index = found.unwrap_or_else(|| {
            let (kind, image) = (kind.clone(), image.to_owned());
            let (ready, target, spare) = (VecDeque::new(), 0, 0);
            self.all.push(Shelf { kind, image, ready, target, spare, since: now });
            self.all.len() - 1
        });
        self.all[..=index].rotate_right(1);
        let shelf = &mut self.all[0];
        if shelf.image == image {
            return VecDeque::new();
        }
        image.clone_into(&mut shelf.image);
        std::mem::take(&mut shelf.ready)
    }

    /// One more for the first shelf, if need be at the cost of the last.
    fn raise(&mut self) -> Option<T> {
        let mut gone = None;
        if self.total() >= self.most {
            let others = self.all.iter_mut().skip(1).rev();
            let last = others.into_iter().find(|shelf| shelf.target > 0)?;
            gone = last.shrink_to(last.target - 1).next();
        }
        self.all[0].target += 1;
        gone
    }

    fn total(&self) -> usize {
        self.all.iter().map(|shelf| shelf.target).sum()
    }

    /// What is to be made next: its kind, and the id of its image.
    pub(super) fn lacking(&self) -> Option<(K, String)> {
        if self.is_off() {
            return None;
        }
        let shelf = self.all.iter().find(|shelf| shelf.ready.len() < shelf.target)?;
        Some((shelf.kind.clone(), shelf.image.clone()))
    }

    /// Gives it back where nobody wants it (any more).
    pub(super) fn put(&mut self, kind: &K, image: &str, made: T) -> Option<T> {
        let wanted = |shelf: &&mut Shelf<K, T>| {
            shelf.kind == *kind && shelf.image == image && shelf.ready.len() < shelf.target
        };
        match self.all.iter_mut().find(wanted) {
            Some(shelf) if !self.closed => {
                shelf.ready.push_back(made);
                None
            }
            _ => Some(made),
        }
    }

    /// What nobody needed for so long goes.
    pub(super) fn shrink(&mut self, now: Instant, long: Duration) -> Vec<T> {
        let mut gone = Vec::new();
        // The first one at last: it keeps what the others leave of the fewest.
        let mut others = 0;
        for (index, shelf) in self.all.iter_mut().enumerate().rev() {
            let least = if index == 0 { self.least.saturating_sub(others) } else { 0 };
            if now.duration_since(shelf.since) >= long {
                let needed = shelf.target - shelf.spare;
                gone.extend(shelf.shrink_to(needed.max(least.min(shelf.target))));
                (shelf.spare, shelf.since) = (shelf.target, now);
            }
            shelf.target = shelf.target.max(least);
            others += shelf.target;
        }
        self.all.retain(|shelf| shelf.target > 0);
        gone
    }

    /// All kinds, with the ids of their images and how many wait.
    pub(super) fn kinds(&self) -> Vec<(K, String, usize)> {
        let one =
            |shelf: &Shelf<K, T>| (shelf.kind.clone(), shelf.image.clone(), shelf.ready.len());
        self.all.iter().map(one).collect()
    }

    /// The one that has waited longest, to be looked at and put back: no job takes it meanwhile.
    pub(super) fn lift(&mut self, kind: &K) -> Option<T> {
        self.all.iter_mut().find(|shelf| shelf.kind == *kind)?.ready.pop_front()
    }

    /// The image has become another, or is gone.
    pub(super) fn replace(&mut self, kind: &K, image: Option<&str>) -> Vec<T> {
        let Some(index) = self.all.iter().position(|shelf| shelf.kind == *kind) else {
            return Vec::new();
        };
        match image {
            Some(image) => {
                let shelf = &mut self.all[index];
                image.clone_into(&mut shelf.image);
                shelf.ready.drain(..).collect()
            }
            None => self.all.remove(index).ready.into(),
        }
    }

    /// All that wait, which may be made anew when times are better.
    pub(super) fn clear(&mut self) -> Vec<T> {
        self.all.iter_mut().flat_map(|shelf| shelf.ready.drain(..)).collect()
    }

    /// All that wait, and no more.
    pub(super) fn close(&mut self) -> Vec<T> {
        self.closed = true;
        self.clear()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(10);

    /// Makes all that is lacking.
    fn fill(shelves: &mut Shelves<&'static str, u32>) -> usize {
        let mut made = 0;
        while let Some((name, image)) = shelves.lacking() {
            assert_eq!(shelves.put(&name, &image, made), None);
            made += 1;
        }
        made as usize
    }

    fn take(
        shelves: &mut Shelves<&'static str, u32>,
        image: &'static str,
        now: Instant,
    ) -> Option<u32> {
        shelves.take(&image, image, now, &mut Vec::new())
    }

    fn ready(shelves: &Shelves<&'static str, u32>) -> Vec<(&'static str, usize)> {
        shelves.kinds().into_iter().map(|(name, _, ready)| (name, ready)).collect()
    }

    #[test]
    fn a_burst_finds_as_many_the_next_time_and_later_they_go_again() {
        let (mut shelves, start) = (Shelves::new((2, 4)), Instant::now());
        shelves.stock(&"a", "a", start);
        assert_eq!(fill(&mut shelves), 2);
        let taken: Vec<_> = (0..6).map(|_| take(&mut shelves, "a", start)).collect();
        assert_eq!(taken, [Some(0), Some(1), None, None, None, None], "the oldest first");
        assert_eq!(fill(&mut shelves), 4, "and never more than the most");

        assert!(shelves.shrink(start + LONG / 2, LONG).is_empty(), "too early");
        assert!(shelves.shrink(start + LONG, LONG).is_empty(), "all were needed");
        assert!(take(&mut shelves, "a", start + LONG).is_some());
        assert_eq!(fill(&mut shelves), 1);
        assert_eq!(
            shelves.shrink(start + 2 * LONG, LONG).len(),
            2,
            "one was needed, two are least"
        );
        assert!(shelves.shrink(start + 9 * LONG, LONG).is_empty());
        assert_eq!((fill(&mut shelves), ready(&shelves)), (0, vec![("a", 2)]));
    }

    #[test]
    fn images_share_the_most_and_the_last_one_keeps_the_least() {
        let (mut shelves, start) = (Shelves::new((2, 3)), Instant::now());
        shelves.stock(&"a", "a", start);
        fill(&mut shelves);
        assert_eq!(take(&mut shelves, "b", start), None);
        fill(&mut shelves);
        assert_eq!(ready(&shelves), [("b", 1), ("a", 2)]);
        let mut gone = Vec::new();
        for _ in 0..2 {
            shelves.take(&"b", "b", start, &mut gone);
        }
        assert_eq!(gone, [0], "the other makes room");
        fill(&mut shelves);
        assert_eq!(ready(&shelves), [("b", 2), ("a", 1)]);

        shelves.shrink(start + LONG, LONG);
        assert_eq!(shelves.shrink(start + 2 * LONG, LONG).len(), 1);
        assert_eq!(ready(&shelves), [("b", 2)]);
    }

    #[test]
    fn what_is_of_another_image_is_never_handed_out() {
        let (mut shelves, start) = (Shelves::new((1, 1)), Instant::now());
        shelves.stock(&"a", "old", start);
        assert_eq!(shelves.put(&"a", "old", 1), None);
        let mut gone = Vec::new();
        assert_eq!(shelves.take(&"a", "new", start, &mut gone), None);
        assert_eq!(gone, [1]);
        assert_eq!(shelves.put(&"a", "old", 2), Some(2), "it was under way meanwhile");
        assert_eq!(shelves.put(&"a", "new", 3), None);
        assert_eq!(shelves.replace(&"a", Some("newer")), [3]);
        assert_eq!(shelves.lacking(), Some(("a", "newer".into())));
        shelves.replace(&"a", None);
        assert_eq!(shelves.lacking(), None);
    }

    #[test]
    fn nothing_waits_where_none_are_wanted_or_all_is_over() {
        let now = Instant::now();
        let mut off = Shelves::new((0, 0));
        assert_eq!(take(&mut off, "a", now), None);
        assert_eq!(off.lacking(), None);

        let mut shelves = Shelves::new((1, 1));
        shelves.stock(&"a", "a", now);
        assert_eq!(shelves.put(&"a", "a", 1), None);
        assert_eq!(shelves.close(), [1]);
        assert_eq!((shelves.lacking(), shelves.put(&"a", "a", 2)), (None, Some(2)));
    }
}

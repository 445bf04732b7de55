//! Decides how many warm sandboxes of each kind are kept. It is pure arithmetic: a sandbox is any
//! `T` and a kind any `K`. A kind is an image as jobs name it, plus everything else that is fixed
//! when a container is created.
//!
//! A job that finds no warm sandbox raises the target of its kind by one. Sandboxes that stay
//! unused for a while lower it. One limit covers all kinds together; when it is reached, the kind
//! that was used least recently makes room. The kind that was used last keeps the minimum.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

pub(super) struct Buckets<K, T> {
    least: usize,
    most: usize,
    /// Most recently used first.
    all: Vec<Bucket<K, T>>,
    closed: bool,
}

/// The warm sandboxes of one kind.
struct Bucket<K, T> {
    kind: K,
    /// The id of the kind's image. It changes when the image's folder is edited.
    image: String,
    /// Oldest first.
    ready: VecDeque<T>,
    target: usize,
    /// How many of the target have stayed unused since `since`.
    spare: usize,
    since: Instant,
}

impl<K, T> Bucket<K, T> {
    fn shrink_to(&mut self, target: usize) -> impl Iterator<Item = T> {
        self.target = target;
        self.spare = self.spare.min(target);
        self.ready.drain(..self.ready.len().saturating_sub(target))
    }
}

impl<K: Clone + PartialEq, T> Buckets<K, T> {
    pub(super) fn new((least, most): (usize, usize)) -> Self {
        Self { least, most, all: Vec::new(), closed: false }
    }

    pub(super) fn is_off(&self) -> bool {
        self.closed || self.most == 0
    }

    /// Adds a kind before its first use, and raises its target to the minimum.
    pub(super) fn stock(&mut self, kind: &K, image: &str, now: Instant) {
        self.use_shelf(kind, image, now);
        while self.total() < self.least {
            self.raise();
        }
    }

    /// Takes the sandbox of this kind that has waited longest. Sandboxes of an outdated image go to
    /// `gone`.
    pub(super) fn take(
        &mut self,
        kind: &K,
        image: &str,
        now: Instant,
        gone: &mut Vec<T>,
    ) -> Option<T> {
        gone.extend(self.use_shelf(kind, image, now));
        let bucket = &mut self.all[0];
        let taken = bucket.ready.pop_front();
        bucket.spare = bucket.spare.min(bucket.ready.len());
        if taken.is_none() {
            gone.extend(self.raise());
        }
        taken
    }

    /// Moves the kind's bucket to the front. If the image has changed, returns the outdated
    /// sandboxes.
    fn use_shelf(&mut self, kind: &K, image: &str, now: Instant) -> VecDeque<T> {
        let found = self.all.iter().position(|bucket| bucket.kind == *kind);
        let index = found.unwrap_or_else(|| {
            let (kind, image) = (kind.clone(), image.to_owned());
            let (ready, target, spare) = (VecDeque::new(), 0, 0);
            self.all.push(Bucket { kind, image, ready, target, spare, since: now });
            self.all.len() - 1
        });
        self.all[..=index].rotate_right(1);
        let bucket = &mut self.all[0];
        if bucket.image == image {
            return VecDeque::new();
        }
        image.clone_into(&mut bucket.image);
        std::mem::take(&mut bucket.ready)
    }

    /// Raises the first bucket's target by one, at the cost of the last bucket if the limit is
    /// reached.
    fn raise(&mut self) -> Option<T> {
        let mut gone = None;
        if self.total() >= self.most {
            let others = self.all.iter_mut().skip(1).rev();
            let last = others.into_iter().find(|bucket| bucket.target > 0)?;
            gone = last.shrink_to(last.target - 1).next();
        }
        self.all[0].target += 1;
        gone
    }

    fn total(&self) -> usize {
        self.all.iter().map(|bucket| bucket.target).sum()
    }

    /// What to make next: its kind, and the id of its image.
    pub(super) fn lacking(&self) -> Option<(K, String)> {
        if self.is_off() {
            return None;
        }
        let bucket = self.all.iter().find(|bucket| bucket.ready.len() < bucket.target)?;
        Some((bucket.kind.clone(), bucket.image.clone()))
    }

    /// Adds a sandbox, or returns it if it is not (or no longer) wanted.
    pub(super) fn put(&mut self, kind: &K, image: &str, made: T) -> Option<T> {
        let wanted = |bucket: &&mut Bucket<K, T>| {
            bucket.kind == *kind && bucket.image == image && bucket.ready.len() < bucket.target
        };
        match self.all.iter_mut().find(wanted) {
            Some(bucket) if !self.closed => {
                bucket.ready.push_back(made);
                None
            }
            _ => Some(made),
        }
    }

    /// Removes the sandboxes that nothing used for `long`.
    pub(super) fn shrink(&mut self, now: Instant, long: Duration) -> Vec<T> {
        let mut gone = Vec::new();
        // The first bucket comes last: it keeps the part of the minimum that the others do not.
        let mut others = 0;
        for (index, bucket) in self.all.iter_mut().enumerate().rev() {
            let least = if index == 0 { self.least.saturating_sub(others) } else { 0 };
            if now.duration_since(bucket.since) >= long {
                let needed = bucket.target - bucket.spare;
                gone.extend(bucket.shrink_to(needed.max(least.min(bucket.target))));
                (bucket.spare, bucket.since) = (bucket.target, now);
            }
            bucket.target = bucket.target.max(least);
            others += bucket.target;
        }
        self.all.retain(|bucket| bucket.target > 0);
        gone
    }

    /// All kinds, with their image ids and the number of waiting sandboxes.
    pub(super) fn kinds(&self) -> Vec<(K, String, usize)> {
        let one =
            |bucket: &Bucket<K, T>| (bucket.kind.clone(), bucket.image.clone(), bucket.ready.len());
        self.all.iter().map(one).collect()
    }

    /// Removes the sandbox that has waited longest, for a check. While it is out, no job can take
    /// it.
    pub(super) fn lift(&mut self, kind: &K) -> Option<T> {
        self.all.iter_mut().find(|bucket| bucket.kind == *kind)?.ready.pop_front()
    }

    /// Reacts to an image that has changed, or is gone. Returns the outdated sandboxes.
    pub(super) fn replace(&mut self, kind: &K, image: Option<&str>) -> Vec<T> {
        let Some(index) = self.all.iter().position(|bucket| bucket.kind == *kind) else {
            return Vec::new();
        };
        match image {
            Some(image) => {
                let bucket = &mut self.all[index];
                image.clone_into(&mut bucket.image);
                bucket.ready.drain(..).collect()
            }
            None => self.all.remove(index).ready.into(),
        }
    }

    /// Removes all waiting sandboxes. New ones may be made later.
    pub(super) fn clear(&mut self) -> Vec<T> {
        self.all.iter_mut().flat_map(|bucket| bucket.ready.drain(..)).collect()
    }

    /// Removes all waiting sandboxes for good.
    pub(super) fn close(&mut self) -> Vec<T> {
        self.closed = true;
        self.clear()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(10);

    /// Makes everything that is lacking.
    fn fill(buckets: &mut Buckets<&'static str, u32>) -> usize {
        let mut made = 0;
        while let Some((name, image)) = buckets.lacking() {
            assert_eq!(buckets.put(&name, &image, made), None);
            made += 1;
        }
        made as usize
    }

    fn take(
        buckets: &mut Buckets<&'static str, u32>,
        image: &'static str,
        now: Instant,
    ) -> Option<u32> {
        buckets.take(&image, image, now, &mut Vec::new())
    }

    fn ready(buckets: &Buckets<&'static str, u32>) -> Vec<(&'static str, usize)> {
        buckets.kinds().into_iter().map(|(name, _, ready)| (name, ready)).collect()
    }

    #[test]
    fn a_burst_finds_as_many_the_next_time_and_later_they_go_again() {
        let (mut buckets, start) = (Buckets::new((2, 4)), Instant::now());
        buckets.stock(&"a", "a", start);
        assert_eq!(fill(&mut buckets), 2);
        let taken: Vec<_> = (0..6).map(|_| take(&mut buckets, "a", start)).collect();
        assert_eq!(taken, [Some(0), Some(1), None, None, None, None], "the oldest first");
        assert_eq!(fill(&mut buckets), 4, "and never more than the most");

        assert!(buckets.shrink(start + LONG / 2, LONG).is_empty(), "too early");
        assert!(buckets.shrink(start + LONG, LONG).is_empty(), "all were needed");
        assert!(take(&mut buckets, "a", start + LONG).is_some());
        assert_eq!(fill(&mut buckets), 1);
        assert_eq!(
            buckets.shrink(start + 2 * LONG, LONG).len(),
            2,
            "one was needed, two are least"
        );
        assert!(buckets.shrink(start + 9 * LONG, LONG).is_empty());
        assert_eq!((fill(&mut buckets), ready(&buckets)), (0, vec![("a", 2)]));
    }

    #[test]
    fn images_share_the_most_and_the_last_one_keeps_the_least() {
        let (mut buckets, start) = (Buckets::new((2, 3)), Instant::now());
        buckets.stock(&"a", "a", start);
        fill(&mut buckets);
        assert_eq!(take(&mut buckets, "b", start), None);
        fill(&mut buckets);
        assert_eq!(ready(&buckets), [("b", 1), ("a", 2)]);
        let mut gone = Vec::new();
        for _ in 0..2 {
            buckets.take(&"b", "b", start, &mut gone);
        }
        assert_eq!(gone, [0], "the other makes room");
        fill(&mut buckets);
        assert_eq!(ready(&buckets), [("b", 2), ("a", 1)]);

        buckets.shrink(start + LONG, LONG);
        assert_eq!(buckets.shrink(start + 2 * LONG, LONG).len(), 1);
        assert_eq!(ready(&buckets), [("b", 2)]);
    }

    #[test]
    fn what_is_of_another_image_is_never_handed_out() {
        let (mut buckets, start) = (Buckets::new((1, 1)), Instant::now());
        buckets.stock(&"a", "old", start);
        assert_eq!(buckets.put(&"a", "old", 1), None);
        let mut gone = Vec::new();
        assert_eq!(buckets.take(&"a", "new", start, &mut gone), None);
        assert_eq!(gone, [1]);
        assert_eq!(buckets.put(&"a", "old", 2), Some(2), "it was under way meanwhile");
        assert_eq!(buckets.put(&"a", "new", 3), None);
        assert_eq!(buckets.replace(&"a", Some("newer")), [3]);
        assert_eq!(buckets.lacking(), Some(("a", "newer".into())));
        buckets.replace(&"a", None);
        assert_eq!(buckets.lacking(), None);
    }

    #[test]
    fn nothing_waits_where_none_are_wanted_or_all_is_over() {
        let now = Instant::now();
        let mut off = Buckets::new((0, 0));
        assert_eq!(take(&mut off, "a", now), None);
        assert_eq!(off.lacking(), None);

        let mut buckets = Buckets::new((1, 1));
        buckets.stock(&"a", "a", now);
        assert_eq!(buckets.put(&"a", "a", 1), None);
        assert_eq!(buckets.close(), [1]);
        assert_eq!((buckets.lacking(), buckets.put(&"a", "a", 2)), (None, Some(2)));
    }
}

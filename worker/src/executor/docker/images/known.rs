//! A cache of the images that references stand for. What was found stays valid until the engine
//! reports any event about an image.
//!
//! The engine reports these on an event stream. Only its first event proves that the stream has
//! begun. That event comes soon, because the first use of an image is noted (`keep`), which causes
//! one. Until then, and after the stream breaks, the cache is empty and every job asks the engine.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bollard::{Docker, query_parameters::EventsOptionsBuilder};
use futures::{Stream, StreamExt};
use tokio::time::sleep;

use super::ReadyImage;

/// Pause between two streams.
const PAUSE: Duration = Duration::from_secs(1);
/// The most references to keep. A worker never uses this many within minutes.
const MOST: usize = 256;

/// The cache. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Whether the event stream has begun.
    is_told: bool,
    /// Number of events so far.
    changes: u64,
    images: HashMap<String, ReadyImage>,
}

/// Marks the time of a look-up. Its result is kept only if no event has come since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked(u64);

impl Known {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn image(&self, reference: &str) -> Option<ReadyImage> {
        self.state().images.get(reference).cloned()
    }

    /// Call this before the engine is asked.
    pub(super) fn asked(&self) -> Asked {
        Asked(self.state().changes)
    }

    /// Stores the engine's answer.
    pub(super) fn found(&self, Asked(before): Asked, image: &ReadyImage) {
        let mut state = self.state();
        if state.is_told && state.changes == before && state.images.len() < MOST {
            state.images.insert(image.reference.clone(), image.clone());
        }
    }

    fn changed(&self, is_told: bool) {
        let mut state = self.state();
        state.is_told = is_told;
        state.changes += 1;
        state.images.clear();
    }

    /// Listens until this future is dropped.
    pub(super) async fn watch(&self, docker: &Docker) {
        let filters = HashMap::from([("type".to_owned(), vec!["image".to_owned()])]);
        loop {
            let options = EventsOptionsBuilder::new().filters(&filters).build();
            self.listen(docker.events(Some(options))).await;
            sleep(PAUSE).await;
        }
    }

    /// Listens until the stream ends or breaks.
    async fn listen<T, E>(&self, events: impl Stream<Item = Result<T, E>>) {
        let mut events = std::pin::pin!(events);
        while let Some(Ok(_)) = events.next().await {
            self.changed(true);
        }
        self.changed(false);
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, stream};

    use super::*;

    fn image(id: &str) -> ReadyImage {
        ReadyImage { reference: "orchestra/a:1".to_owned(), id: id.to_owned(), digest: None }
    }

    fn find(known: &Known, id: &str) -> Option<String> {
        known.found(known.asked(), &image(id));
        known.image("orchestra/a:1").map(|image| image.id)
    }

    /// Sends this many events on a stream that stays open.
    fn tell(known: &Known, count: usize) {
        let events = stream::iter(vec![Ok::<_, ()>(()); count]).chain(stream::pending());
        assert!(known.listen(events).now_or_never().is_none());
    }

    #[test]
    fn what_was_found_is_known_until_something_happens() {
        let known = Known::default();
        assert_eq!(find(&known, "old"), None, "nobody would tell of a change");
        tell(&known, 1);
        assert_eq!(find(&known, "old").as_deref(), Some("old"));
        tell(&known, 1);
        assert_eq!(known.image("orchestra/a:1"), None);
        assert_eq!(find(&known, "new").as_deref(), Some("new"));
    }

    #[test]
    fn an_answer_that_a_change_has_overtaken_is_not_kept() {
        let known = Known::default();
        tell(&known, 1);
        let asked = known.asked();
        tell(&known, 1);
        known.found(asked, &image("old"));
        assert_eq!(known.image("orchestra/a:1"), None);
    }

    #[test]
    fn when_the_stream_breaks_nothing_is_known_any_more() {
        let known = Known::default();
        for end in [vec![Ok(()), Err(())], vec![Ok(())]] {
            tell(&known, 1);
            assert!(find(&known, "old").is_some());
            known.listen(stream::iter(end)).now_or_never().expect("it has ended");
            assert_eq!(known.image("orchestra/a:1"), None);
            assert_eq!(find(&known, "old"), None);
        }
    }
}

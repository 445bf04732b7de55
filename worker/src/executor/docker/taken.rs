//! Finds out which attempt took a container that was made ahead of its job. Its sandbox says so
//! before anything of the job runs, and the engine's log keeps that. The container's name changes
//! later, and is for people.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use orchestra_sandbox::protocol::{Attempt, Decoder, Event};
use tokio::time::sleep;

use super::{
    container::Container,
    ending::{BETWEEN_LOOKS, LOOKS},
    engine::{Engine, EngineError},
    reattach::{runs, state_of},
};

/// The attempt that a container's sandbox has taken. `None` if it has not said so, or not yet.
pub(super) async fn attempt_of(
    engine: &Engine,
    handle: &str,
) -> Result<Option<Attempt>, EngineError> {
    first_taken(engine.log(handle)).await
}

/// Whether a sandbox that was sent its job and fell silent ended before it took the job. If the
/// engine does not answer at once, this is unknown and the answer is `false`: the engine may have
/// restarted while it held a message.
pub(super) async fn has_gone_without(container: &Container) -> bool {
    for _ in 0..LOOKS {
        let runs = match state_of(container).await {
            // Everything that it had said was passed on before its stream ended.
            Err(EngineError::NotFound(_)) => return true,
            Err(_) => return false,
            Ok(state) => runs(&state),
        };
        let has_gone = match attempt_of(container.engine(), container.handle()).await {
            Ok(None) => !runs,
            // The engine refuses the log of a container that it is removing.
            Err(EngineError::NotFound(_) | EngineError::Conflict(_)) => true,
            Ok(Some(_)) | Err(_) => return false,
        };
        if has_gone {
            return true;
        }
        sleep(BETWEEN_LOOKS).await;
    }
    false
}

async fn first_taken(
    mut log: impl Stream<Item = Result<Bytes, EngineError>> + Unpin,
) -> Result<Option<Attempt>, EngineError> {
    let mut decoder = Decoder::default();
    while let Some(piece) = log.next().await {
        decoder.push(&piece?);
        loop {
            match decoder.next() {
                Ok(Some(Event::Ready(_))) => {}
                Ok(Some(Event::Taken(attempt))) => return Ok(Some(attempt)),
                Ok(None) => break,
                // Not one of our sandboxes, or one of another version.
                Ok(Some(_)) | Err(_) => return Ok(None),
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::stream;
    use orchestra_sandbox::protocol::{Message, Ready, VERSION};
    use rstest::rstest;

    use super::*;

    const OURS: Attempt = Attempt { job: 7, number: 2 };

    fn ready() -> Event {
        Event::Ready(Ready { version: VERSION, boot: "b".to_owned(), since_boot: Duration::ZERO })
    }

    #[rstest]
    #[case::it_waits(&[ready()], None)]
    #[case::it_has_its_job(&[ready(), Event::Taken(OURS)], Some(OURS))]
    #[case::and_says_more(&[ready(), Event::Taken(OURS), Event::Started], Some(OURS))]
    #[case::of_another_version(&[ready(), Event::Started, Event::Taken(OURS)], None)]
    #[case::it_said_nothing(&[], None)]
    #[tokio::test]
    async fn its_first_words_say_whose_it_is(
        #[case] said: &[Event],
        #[case] attempt: Option<Attempt>,
        #[values(1, 1000)] piece: usize,
    ) {
        let mut bytes = Vec::new();
        for event in said {
            event.encode(&mut bytes);
        }
        let pieces: Vec<_> = bytes.chunks(piece).map(Bytes::copy_from_slice).map(Ok).collect();
        assert_eq!(first_taken(stream::iter(pieces)).await.unwrap(), attempt);
    }

    #[tokio::test]
    async fn an_engine_that_does_not_tell_is_no_answer() {
        let broken = Err(EngineError::Broken("cut".to_owned()));
        assert!(first_taken(stream::iter([broken])).await.is_err());
    }
}

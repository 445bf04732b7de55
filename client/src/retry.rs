//! Retries: how long to pause, and when to give up.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

use crate::ClientError;

/// How long a call that waits for an unavailable master keeps trying. A restart takes a second or
/// two; a machine that boots takes most of a minute.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Pauses that grow exponentially up to a cap. Each is chosen at random between zero and its bound
/// ("full jitter"), so that many clients of a recovering master do not return at the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    bound: Duration,
}

impl Default for Backoff {
    /// 100 ms at first, 5 s at most.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }
}

impl Backoff {
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, bound: base.min(cap) }
    }

    /// The next pause.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so it has no None to give")]
    pub fn next(&mut self) -> Duration {
        let bound = self.bound;
        self.bound = bound.saturating_mul(2).min(self.cap);
        bound.mul_f64(rand::random_range(0.0..=1.0))
    }

    /// Starts again with the shortest pause, after a success.
    pub fn reset(&mut self) {
        self.bound = self.base.min(self.cap);
    }
}

/// Repeats `op` until it succeeds, fails permanently, or reaches `deadline`; then returns the last
/// error. `op` must be safe to repeat.
pub async fn retry<T, F>(
    mut backoff: Backoff,
    deadline: Instant,
    mut op: impl FnMut() -> F,
) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    loop {
        match op().await {
            Err(error) if error.is_temporary() => {
                let pause = backoff.next();
                if Instant::now() + pause >= deadline {
                    return Err(error);
                }
                tracing::debug!(%error, ?pause, "a call failed and is tried again");
                sleep(pause).await;
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn unreachable() -> ClientError {
        ClientError::Unreachable { url: "u".into(), reason: "r".into(), sent: true }
    }

    #[test]
    fn pauses_grow_to_the_cap_and_begin_again() {
        let (base, cap) = (Duration::from_millis(10), Duration::from_millis(50));
        let mut backoff = Backoff::new(base, cap);
        for bound in [10, 20, 40, 50, 50] {
            assert_eq!(backoff.bound, Duration::from_millis(bound));
            assert!(backoff.next() <= Duration::from_millis(bound));
        }
        backoff.reset();
        assert!(backoff.next() <= base);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_until_the_deadline() {
        let calls = Cell::new(0);
        let start = Instant::now();
        let answer: Result<(), _> =
            retry(Backoff::default(), start + Duration::from_secs(30), || {
                calls.set(calls.get() + 1);
                async { Err(unreachable()) }
            })
            .await;
        assert!(answer.is_err());
        assert!(calls.get() > 5, "{} calls", calls.get());
        assert!(start.elapsed() <= Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_not_tried_again() {
        let calls = Cell::new(0);
        let deadline = Instant::now() + Duration::from_secs(30);
        let answer: Result<(), _> = retry(Backoff::default(), deadline, || {
            calls.set(calls.get() + 1);
            async { Err(ClientError::unreadable("u", 200, "html")) }
        })
        .await;
        assert!(answer.is_err());
        assert_eq!(calls.get(), 1);
    }
}

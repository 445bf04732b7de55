//! Logs refused requests: enough to see who tries to get in, at a bounded rate, and nothing of the
//! request but method and path.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::response::Response;
use orchestra_contracts::ProblemKind;

/// At most this many lines per [`TIME`]. Lines beyond that are only counted.
const LINES: u32 = 10;
const TIME: Duration = Duration::from_secs(1);

static RATE: Mutex<Rate> = Mutex::new(Rate { since: None, lines: 0, left_out: 0 });

struct Rate {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Rate {
    /// Whether a line may be written at `now`, and how many were left out since the last one.
    fn admits(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= TIME) {
            (self.since, self.lines) = (Some(now), 0);
        }
        if self.lines == LINES {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Logs a refusal that belongs to no request, within the rate.
pub(super) fn note(what: &'static str) {
    if let Some(left_out) = admitted() {
        tracing::info!(left_out, "refused: {what}");
    }
}

/// Logs a refused request, within the rate. It runs within the request's span, which has its
/// method, path and id. The path is quoted there, with control characters escaped.
pub(super) fn noted(response: &Response) {
    let status = response.status();
    if !status.is_client_error() {
        return;
    }
    let kind = response.extensions().get::<ProblemKind>().copied();
    if !kind.is_some_and(is_unwelcome) {
        tracing::debug!(status = status.as_u16(), ?kind, "refused");
    } else if let Some(left_out) = admitted() {
        tracing::info!(status = status.as_u16(), ?kind, left_out, "refused");
    }
}

/// Whether the client lacks access, which the operator should see.
fn is_unwelcome(kind: ProblemKind) -> bool {
    use ProblemKind::{CrossSite, Forbidden, Unauthenticated, WrongHost};
    matches!(kind, Unauthenticated | Forbidden | CrossSite | WrongHost)
}

fn admitted() -> Option<u64> {
    RATE.lock().unwrap_or_else(PoisonError::into_inner).admits(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_written() {
        let mut rate = Rate { since: None, lines: 0, left_out: 0 };
        let begun = Instant::now();
        let written = (0..1000).filter(|_| rate.admits(begun).is_some()).count();
        assert_eq!(written, LINES as usize);
        assert_eq!(rate.admits(begun + TIME), Some(990));
        assert_eq!(rate.admits(begun + TIME), Some(0));
    }
}

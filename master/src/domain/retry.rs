//! When a failed attempt is tried again.

use orchestra_contracts::Span;

/// The operator's rules for retries. Backoff is exponential with full jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The longest first wait; it doubles with each retry.
    pub base: Span,
    /// No wait is longer.
    pub max: Span,
    /// How often a job is run again because of what we broke, before it fails.
    pub infra_budget: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { base: Span::from_secs(1), max: Span::from_secs(60), infra_budget: 5 }
    }
}

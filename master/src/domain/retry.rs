//! The retry policy: when a failed attempt is tried again.

use std::time::Duration;

use orchestra_contracts::Span;

/// The operator's rules for retries. Backoff is exponential with full jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Upper bound of the first wait. It doubles with each retry.
    pub base: Span,
    /// Upper bound of every wait.
    pub max: Span,
    /// Number of retries for infrastructure failures, before the job fails.
    pub infra_budget: u32,
    /// Number of lost attempts after which a job ends as poison.
    pub poison_after: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Span::from_secs(1),
            max: Span::from_secs(60),
            infra_budget: 5,
            poison_after: 3,
        }
    }
}

impl RetryPolicy {
    /// The policy for a job that asks for this first wait.
    #[must_use]
    pub fn beginning_with(self, base: Option<Span>) -> Self {
        Self { base: base.unwrap_or(self.base), ..self }
    }

    /// The wait before the next attempt after `used` retries: the fraction `jitter` (0.0 to 1.0) of
    /// a duration that doubles with each retry, up to `max`.
    pub fn wait(&self, used: u32, jitter: f64) -> Span {
        let factor = 2_u32.checked_pow(used).unwrap_or(u32::MAX);
        let longest = self.base.0.saturating_mul(factor).min(self.max.0);
        let part = longest.as_secs_f64() * jitter.clamp(0.0, 1.0);
        Span(Duration::try_from_secs_f64(part).unwrap_or(longest).min(longest))
    }
}

//! The lease policy: how long leases last.

use orchestra_contracts::Span;

/// The operator's rules for leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasePolicy {
    /// The lease of a job that asks for none. Also the minimum.
    pub base: Span,
    /// The maximum, whatever a job asks for.
    pub max: Span,
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self { base: Span::from_secs(60), max: Span::from_secs(3600) }
    }
}

impl LeasePolicy {
    /// The lease of a job that asks for `asked`. The current policy applies, even if the job was
    /// accepted under another.
    pub fn of(&self, asked: Option<Span>) -> Span {
        asked.unwrap_or(self.base).min(self.max).max(self.base)
    }
}

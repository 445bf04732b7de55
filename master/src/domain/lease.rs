//! How long leases last.

use orchestra_contracts::Span;

/// The operator's rules for leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasePolicy {
    /// The lease of a job that asks for none of its own. None is shorter.
    pub base: Span,
    /// None is longer, whatever a job asks for.
    pub max: Span,
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self { base: Span::from_secs(60), max: Span::from_secs(3600) }
    }
}

impl LeasePolicy {
    /// The lease of a job that asks for this one. What was accepted under other
    /// rules is held to the present ones.
    pub fn of(&self, asked: Option<Span>) -> Span {
        asked.unwrap_or(self.base).min(self.max).max(self.base)
    }
}

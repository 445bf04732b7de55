//! Whom a route is for.

use orchestra_contracts::Role;

/// Stands beside each route. An admin may use all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Also without a token.
    Anyone,
    /// With any valid token.
    AnyRole,
    Client,
    Worker,
    Admin,
}

impl Rule {
    pub fn admits(self, role: Role) -> bool {
        match self {
            Self::Anyone | Self::AnyRole => true,
            Self::Client => matches!(role, Role::Client | Role::Admin),
            Self::Worker => matches!(role, Role::Worker | Role::Admin),
            Self::Admin => role == Role::Admin,
        }
    }
}

//! Who may use a route.

use orchestra_contracts::Role;

/// The access rule of a route. An admin may use every route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Anyone, even without a token.
    Anyone,
    /// Anyone with a valid token.
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

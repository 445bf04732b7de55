//! Who sent a request, and for which worker it may speak.

use orchestra_contracts::{Role, TokenId, WorkerName};
use tokio_util::sync::CancellationToken;

use super::{Service, ServiceError};

/// Whoever was let in.
#[derive(Clone, Debug)]
pub struct Caller {
    role: Role,
    worker: Option<WorkerName>,
    token: Option<TokenId>,
    revoked: CancellationToken,
}

impl Caller {
    /// Somebody at a master that asks nobody for a token.
    pub fn anyone() -> Self {
        Self { role: Role::Admin, worker: None, token: None, revoked: CancellationToken::new() }
    }

    pub(super) fn with_token(
        role: Role,
        worker: Option<WorkerName>,
        token: Option<TokenId>,
        revoked: CancellationToken,
    ) -> Self {
        Self { role, worker, token, revoked }
    }

    pub fn role(&self) -> Role {
        self.role
    }

    /// The number of its token, unless it has none or one that is not kept.
    pub fn token(&self) -> Option<TokenId> {
        self.token
    }

    /// Cancelled when its token is revoked; whatever it waits for ends then.
    pub fn revoked(&self) -> &CancellationToken {
        &self.revoked
    }
}

impl Service {
    /// A token that names a worker speaks for that one alone; one that names none
    /// speaks for all that no other token names.
    pub fn may_act_as(&self, caller: &Caller, worker: &WorkerName) -> Result<(), ServiceError> {
        let may = match (caller.role, &caller.worker) {
            (Role::Admin, _) => true,
            (_, Some(own)) => own == worker,
            (_, None) => !self.keyring.names(worker),
        };
        if may { Ok(()) } else { Err(ServiceError::NotItsWorker(worker.clone())) }
    }
}

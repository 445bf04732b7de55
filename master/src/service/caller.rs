//! Who sent a request, and for which worker it may act.

use orchestra_contracts::{Role, TokenId, WorkerName};
use tokio_util::sync::CancellationToken;

use super::{Service, ServiceError};

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    role: Role,
    worker: Option<WorkerName>,
    token: Option<TokenId>,
    revoked: CancellationToken,
}

impl Caller {
    /// A caller at a master without tokens.
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

    /// The id of the token; `None` without a token, or with one that is not stored.
    pub fn token(&self) -> Option<TokenId> {
        self.token
    }

    /// Cancelled when the token is revoked; the caller's long requests end then.
    pub fn revoked(&self) -> &CancellationToken {
        &self.revoked
    }
}

impl Service {
    /// A token that names a worker acts for that worker alone. One that names none acts for every
    /// worker that no other token names.
    pub fn may_act_as(&self, caller: &Caller, worker: &WorkerName) -> Result<(), ServiceError> {
        let may = match (caller.role, &caller.worker) {
            (Role::Admin, _) => true,
            (_, Some(own)) => own == worker,
            (_, None) => !self.keyring.names(worker),
        };
        if may { Ok(()) } else { Err(ServiceError::NotItsWorker(worker.clone())) }
    }
}

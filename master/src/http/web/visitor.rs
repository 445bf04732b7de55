//! The visitor of a page. Pages offer only what the visitor may do.

use axum::{extract::FromRequestParts, http::request::Parts, response::Response};
use orchestra_contracts::Role;

use crate::{http::access::Entry, service::Caller};

#[derive(Clone, Copy, Debug)]
pub(super) struct Visitor {
    role: Role,
    /// Whether tokens are required here, so that the visitor has one.
    pub(super) has_token: bool,
}

impl Visitor {
    /// Whether the visitor may change queues and workers.
    pub(super) fn is_admin(self) -> bool {
        self.role == Role::Admin
    }

    pub(super) fn role(self) -> Role {
        self.role
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let open = parts.extensions.get::<Entry>().is_some_and(|entry| entry.open);
        Ok(Self { role: caller.role(), has_token: !open })
    }
}

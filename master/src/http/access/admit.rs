//! The only place that decides whether a request is admitted.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use orchestra_contracts::{ProblemKind, Token};

use super::{Rule, browser, cookie, revocation};
use crate::{
    http::{
        error::{ApiError, busy, internal},
        serve::RequestSlot,
        web,
    },
    service::{Caller, Service},
};

/// The access check of one route.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) service: Arc<Service>,
    pub(super) open: bool,
    pub(super) rule: Rule,
    pub(super) is_page: bool,
}

/// What a page needs to know about authentication.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Entry {
    /// No token is required, so there is no sign-in.
    pub(in crate::http) open: bool,
}

/// Admits the request or refuses it. If the token is revoked later, the response is cut off: a
/// waiting handler is dropped, as when its client disconnects, and a streaming body breaks off.
pub(super) async fn admit(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let caller = match gate.caller(&request) {
        Ok(caller) => caller,
        // A page redirects to the sign-in instead.
        Err(refusal) if gate.is_page && refusal.kind() == ProblemKind::Unauthenticated => {
            return Redirect::to(&web::sign_in_for(request.uri())).into_response();
        }
        Err(refusal) => return refusal.into_response(),
    };
    let slot = request.extensions().get::<RequestSlot>();
    if slot.is_some_and(|slot| !slot.enter(gate.rule)) {
        return busy().into_response();
    }
    let revoked = caller.revoked().clone();
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(Entry { open: gate.open });
    tokio::select! {
        response = next.run(request) => revocation::cut_off_at(revoked.clone(), response),
        () = revoked.cancelled() => unauthenticated("the token was revoked").into_response(),
    }
}

impl Gate {
    fn caller(&self, request: &Request) -> Result<Caller, ApiError> {
        if self.open || self.rule == Rule::Anyone {
            return Ok(Caller::anyone());
        }
        let token = token_of(request).ok_or_else(|| unauthenticated("a token is needed here"))?;
        let caller = self.service.holder(&token);
        let caller = caller.ok_or_else(|| unauthenticated("the token is not valid"))?;
        if !self.rule.admits(caller.role()) {
            let detail = format!("a token with the role {} is not for this", caller.role());
            return Err(ApiError::new(ProblemKind::Forbidden, detail)
                .hint("docs/security.md says which role may do what"));
        }
        Ok(caller)
    }
}

/// The request's token. The header takes precedence over the cookie. Browsers send the cookie on
/// their own, so outside of reads it counts only if the browser says that our own page makes the
/// request. For reads see `browser`.
fn token_of(request: &Request) -> Option<Token> {
    let headers = request.headers();
    if headers.contains_key(header::AUTHORIZATION) {
        return bearer(headers);
    }
    let is_read = request.method().is_safe();
    cookie::read(headers).filter(|_| is_read || browser::is_our_page(headers))
}

/// The token of `Authorization: Bearer <token>`, if that header is given exactly once.
fn bearer(headers: &HeaderMap) -> Option<Token> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (only, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Token::new(token))
}

fn unauthenticated(detail: &str) -> ApiError {
    let challenge = HeaderValue::from_static("Bearer realm=\"orchestra\"");
    ApiError::new(ProblemKind::Unauthenticated, detail)
        .hint(
            "set ORCHESTRA_TOKEN or ORCHESTRA_TOKEN_FILE for orchestra, or send the header \
             authorization: Bearer TOKEN; `orchestra token create` makes one",
        )
        .header(header::WWW_AUTHENTICATE, challenge)
}

/// The admitted caller. Present in every handler, since every route has an access check.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let caller = parts.extensions.get().cloned();
        caller.ok_or_else(|| internal().into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        bearer(&headers).map(|token| token.as_str().to_owned())
    }

    #[test]
    fn one_bearer_token_is_read() {
        assert_eq!(read(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(read(&["bearer  abc "]).as_deref(), Some("abc"));
        for none in [&[][..], &["Basic abc"], &["abc"], &["Bearer"], &["Bearer a", "Bearer b"]] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }
}

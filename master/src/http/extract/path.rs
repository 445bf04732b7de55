//! Path parameters.

use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use orchestra_contracts::{
    AttemptNo, ContentHash, DeliveryId, JobId, QueueName, ScheduleName, TokenId, WebhookId,
    WorkerName,
};

use crate::http::error::ApiError;

/// `{id}`
pub(in crate::http) struct JobPath(pub(in crate::http) JobId);
/// `{id}` and `{attempt}`
pub(in crate::http) struct AttemptPath(pub(in crate::http) JobId, pub(in crate::http) AttemptNo);
/// `{id}` and `{*path}`
pub(in crate::http) struct ArtifactPath(pub(in crate::http) JobId, pub(in crate::http) String);
/// `{id}` of a token
pub(in crate::http) struct TokenPath(pub(in crate::http) TokenId);
/// `{sha256}`
pub(in crate::http) struct UploadPath(pub(in crate::http) ContentHash);
/// `{id}` of a webhook
pub(in crate::http) struct WebhookPath(pub(in crate::http) WebhookId);
/// `{id}` of a webhook and `{delivery}`
pub(in crate::http) struct DeliveryPath(
    pub(in crate::http) WebhookId,
    pub(in crate::http) DeliveryId,
);
/// `{name}` of a queue
pub(in crate::http) struct QueuePath(pub(in crate::http) QueueName);
/// `{name}` of a schedule
pub(in crate::http) struct SchedulePath(pub(in crate::http) ScheduleName);
/// `{name}`
pub(in crate::http) struct WorkerPath(pub(in crate::http) WorkerName);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(JobId(id(&params(parts, state).await?, "a job id")?)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AttemptPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = params(parts, state).await?;
        let attempt = part(&params, "attempt");
        let number = canonical(attempt).filter(|number| *number > 0).ok_or_else(|| {
            ApiError::parameter(format!("{attempt:?} is not the number of an attempt: 1, 2, ..."))
        })?;
        Ok(Self(JobId(id(&params, "a job id")?), AttemptNo(number)))
    }
}

/// The path is only a key for a lookup, never a file system path.
impl<S: Send + Sync> FromRequestParts<S> for ArtifactPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = params(parts, state).await?;
        Ok(Self(JobId(id(&params, "a job id")?), part(&params, "path").to_owned()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TokenPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(TokenId(id(&params(parts, state).await?, "the number of a token")?)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for UploadPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = params(parts, state).await?;
        let hash = part(&params, "sha256");
        let wrong = |reason| ApiError::parameter(format!("{hash:?} names no upload: {reason}"));
        Ok(Self(hash.parse().map_err(wrong)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebhookPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(WebhookId(id(&params(parts, state).await?, "the number of a webhook")?)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for DeliveryPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = params(parts, state).await?;
        let webhook = WebhookId(id(&params, "the number of a webhook")?);
        let delivery = number(part(&params, "delivery"), "the number of a delivery")?;
        Ok(Self(webhook, DeliveryId(delivery)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WorkerPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        name(&params(parts, state).await?).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for QueuePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        name(&params(parts, state).await?).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SchedulePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        name(&params(parts, state).await?).map(Self)
    }
}

fn name<T: FromStr<Err: std::fmt::Display>>(params: &RawPathParams) -> Result<T, ApiError> {
    let name = part(params, "name");
    name.parse().map_err(|reason| ApiError::parameter(format!("{name:?}: {reason}")))
}

async fn params<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<RawPathParams, ApiError> {
    RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| ApiError::parameter("the address is not UTF-8 where it is percent-encoded"))
}

/// The parameter's text. Empty if the route has none, and no parser accepts that.
fn part<'a>(params: &'a RawPathParams, wanted: &str) -> &'a str {
    params.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value)
}

fn id(params: &RawPathParams, of: &str) -> Result<i64, ApiError> {
    number(part(params, "id"), of)
}

fn number(text: &str, of: &str) -> Result<i64, ApiError> {
    canonical(text).filter(|id| *id > 0).ok_or_else(|| {
        ApiError::parameter(format!("{text:?} is not {of}, which is a whole number from 1 on"))
    })
}

/// Parses a number in its canonical form: no sign, no leading zero.
fn canonical<T: FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

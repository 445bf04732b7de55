//! The body of a form on one of our own pages.

use axum::extract::{FromRequest, Request};
use orchestra_contracts::ProblemKind;

use super::{FromQuery, Pairs, body};
use crate::http::error::ApiError;

/// Room for a token and an address, or for a thousand job ids.
const LIMIT: usize = 16 << 10;
const KIND: &str = "application/x-www-form-urlencoded";

/// The fields of a form, which are encoded like a query.
pub(in crate::http) struct Form<T>(pub(in crate::http) T);

impl<S: Send + Sync, T: FromQuery> FromRequest<S> for Form<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if body::media_type(request.headers()).as_deref() != Some(KIND) {
            let detail = format!("a form is sent as {KIND}");
            return Err(ApiError::new(ProblemKind::UnsupportedMediaType, detail));
        }
        let bytes = body::read(request.into_body(), LIMIT).await?;
        let unreadable = |_| ApiError::new(ProblemKind::Unreadable, "the form is not UTF-8");
        let text = std::str::from_utf8(&bytes).map_err(unreadable)?;
        T::from_pairs(&Pairs::read(text, T::NAMES)?).map(Self)
    }
}

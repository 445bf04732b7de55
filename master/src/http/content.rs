//! Serves a stored file, whole or in part. A browser always saves it and never runs or renders it.

use std::ops::Range;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::Stream;
use orchestra_contracts::ProblemKind;

use super::{
    disposition::attachment,
    error::{ApiError, internal},
    range,
};
use crate::live::CutOff;

/// RFC 9530: the digest of the whole file, even in a partial response.
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The metadata of a file.
pub(super) struct Stored<'a> {
    /// The name under which a browser saves it.
    pub(super) name: &'a str,
    pub(super) bytes: u64,
    /// In hexadecimal.
    pub(super) sha256: &'a str,
}

/// The response with the requested part of the file, read by `read`.
pub(super) fn answer<S>(
    headers: &HeaderMap,
    file: &Stored<'_>,
    read: impl FnOnce(Range<u64>) -> Result<S, ApiError>,
) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<Bytes, CutOff>> + Send + 'static,
{
    let (status, range) = part(headers, file)?;
    let mut response = status.into_response();
    describe(response.headers_mut(), file, &range, status)?;
    *response.body_mut() = Body::from_stream(read(range)?);
    Ok(response)
}

/// The requested part. The whole file if it has changed since (`If-Range`, RFC 9110).
fn part(headers: &HeaderMap, file: &Stored<'_>) -> Result<(StatusCode, Range<u64>), ApiError> {
    let same = headers.get(header::IF_RANGE).is_none_or(|tag| *tag == tag_of(file));
    let Some(wanted) = range::wanted(headers).filter(|_| same) else {
        return Ok((StatusCode::OK, 0..file.bytes));
    };
    let Some(found) = wanted.within(file.bytes) else {
        let detail = format!("the file has {} bytes", file.bytes);
        let length = value(format!("bytes */{}", file.bytes))?;
        return Err(ApiError::new(ProblemKind::RangeNotSatisfiable, detail)
            .header(header::CONTENT_RANGE, length));
    };
    Ok((StatusCode::PARTIAL_CONTENT, *found.start()..found.end() + 1))
}

fn describe(
    headers: &mut HeaderMap,
    file: &Stored<'_>,
    range: &Range<u64>,
    status: StatusCode,
) -> Result<(), ApiError> {
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, octets);
    headers.insert(header::CONTENT_DISPOSITION, value(attachment(file.name))?);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, value(tag_of(file))?);
    if let Ok(digest) = hex::decode(file.sha256) {
        let digest = format!("sha-256=:{}:", STANDARD.encode(digest));
        headers.insert(REPR_DIGEST, value(digest)?);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {}-{}/{}", range.start, range.end - 1, file.bytes);
        headers.insert(header::CONTENT_RANGE, value(part)?);
    }
    Ok(())
}

fn tag_of(file: &Stored<'_>) -> String {
    format!("\"{}\"", file.sha256)
}

fn value(text: String) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(text).map_err(|error| {
        tracing::error!(%error, "a header could not be written");
        internal()
    })
}

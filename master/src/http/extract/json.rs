//! JSON bodies. One that cannot be parsed gets a 400 that says where; one that is refused gets a
//! 422 with a JSON pointer.

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use orchestra_contracts::{FieldError, ProblemKind};
use serde::{
    Serialize,
    de::{self, DeserializeOwned},
};
use serde_path_to_error::{Path, Segment};

use super::{body, readable::Readable};
use crate::http::error::{ApiError, internal};

/// Maximum body size. A spec holds up to 1 MiB of standard input, as much of files, and 64 KiB of
/// command, and JSON may escape their characters.
pub(super) const LIMIT: usize = 4 << 20;
/// Maximum size of a worker's report. It names up to a thousand files of each kind, and JSON may
/// escape each character of their names.
const REPORT: usize = 10 << 20;

/// A JSON body, of a request or a response.
pub(in crate::http) struct Json<T>(pub(in crate::http) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        check_type(request.headers())?;
        let bytes = body::read(request.into_body(), LIMIT).await?;
        parse_object(&bytes, "").map(Self)
    }
}

/// A worker's report about one attempt, or a list of them.
pub(in crate::http) struct Report<T>(pub(in crate::http) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Report<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        check_type(request.headers())?;
        let bytes = body::read(request.into_body(), REPORT).await?;
        parse_any(&bytes, "").map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written");
                internal().into_response()
            }
        }
    }
}

pub(super) fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let refuse = |detail: &str| Err(ApiError::not_json(detail));
    match body::media_type(headers) {
        Some(kind) if kind == "application/json" => {}
        Some(kind) => return refuse(&format!("the body is {kind:?}, not JSON")),
        None => return refuse("the request does not say what its body is"),
    }
    if charset(headers).is_some_and(|charset| charset != "utf-8") {
        return refuse("JSON is written in UTF-8");
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return refuse("compressed bodies are not read");
    }
    Ok(())
}

fn charset(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase();
    let mut parameters = value.split(';').skip(1).map(str::trim);
    let charset = parameters.find_map(|one| one.strip_prefix("charset="))?;
    Some(charset.trim_matches('"').to_owned())
}

/// Parses an object, which is at the pointer `place`. Refuses a list, from which serde would read
/// the fields by position.
pub(super) fn parse_object<T: DeserializeOwned>(bytes: &[u8], place: &str) -> Result<T, ApiError> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        parse_any::<de::IgnoredAny>(bytes, place)?;
        return Err(refusal(FieldError {
            pointer: place.to_owned(),
            detail: "invalid type: a list, expected an object".to_owned(),
        }));
    }
    parse_any(bytes, place)
}

/// Like [`parse_object`], but accepts a list.
pub(super) fn parse_any<T: DeserializeOwned>(bytes: &[u8], place: &str) -> Result<T, ApiError> {
    if bytes.is_empty() {
        let error = ApiError::new(ProblemKind::Unreadable, "the body is empty");
        return Err(error.hint("send a JSON value"));
    }
    serde_json::from_slice::<Readable>(bytes).map_err(|error| {
        ApiError::new(ProblemKind::Unreadable, format!("this is not JSON: {error}"))
    })?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let FieldError { pointer, detail } =
            refused_field(error.path(), &error.inner().to_string());
        refusal(FieldError { pointer: format!("{place}{pointer}"), detail })
    })
}

fn refusal(field: FieldError) -> ApiError {
    ApiError::new(ProblemKind::Invalid, "one field is not acceptable").errors(vec![field])
}

fn refused_field(path: &Path, message: &str) -> FieldError {
    let detail = message.rsplit_once(" at line ").map_or(message, |(detail, _)| detail);
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Map { key } => push(&mut pointer, key),
            Segment::Seq { index } => push(&mut pointer, &index.to_string()),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    // serde reports a missing or unknown field at its object.
    let named =
        ["missing field `", "unknown field `"].iter().find_map(|text| detail.strip_prefix(text));
    if let Some((field, _)) = named.and_then(|rest| rest.split_once('`')) {
        let mut whole = pointer.clone();
        push(&mut whole, field);
        if !pointer.ends_with(&whole[pointer.len()..]) {
            pointer = whole;
        }
    }
    FieldError { pointer: shortened(&pointer), detail: shortened(detail) }
}

/// Shortened, because the sender's input may be a megabyte.
fn shortened(text: &str) -> String {
    const MOST: usize = 300;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Appends a token, escaped as in RFC 6901, section 3.
fn push(pointer: &mut String, token: &str) {
    pointer.push('/');
    pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::{JobSpec, worker::ClaimRequest};

    use super::*;

    fn refused<T: DeserializeOwned>(json: &'static str) -> String {
        let Err(error) = parse_object::<T>(json.as_bytes(), "") else { panic!("{json}") };
        format!("{error:?}")
    }

    #[track_caller]
    fn points<T: DeserializeOwned>(json: &'static str, pointer: &str) {
        let refused = refused::<T>(json);
        assert!(refused.contains(&format!("pointer: {pointer:?}")), "{refused}");
    }

    #[test]
    fn every_refusal_points_at_its_field() {
        points::<JobSpec>(r#"{"command": 1}"#, "/command");
        points::<JobSpec>("{}", "/command");
        points::<JobSpec>(r#"{"command": "x", "timeOut": 1}"#, "/timeOut");
        points::<JobSpec>(
            r#"{"command": "x", "resources": {"memory": "much"}}"#,
            "/resources/memory",
        );
        points::<JobSpec>(r#"{"command": "x", "resources": {"gpu": 1}}"#, "/resources/gpu");
        points::<JobSpec>(r#"{"command": "x", "env": {"a/b": 1}}"#, "/env/a~1b");
        points::<JobSpec>("[\"ls\"]", "");
        points::<ClaimRequest>(r#"{"worker": "w", "slots": -1}"#, "/slots");
        points::<ClaimRequest>(r#"{"slots": 1}"#, "/worker");
        points::<ClaimRequest>(r#"{"worker": "a b"}"#, "/worker");
    }

    #[test]
    fn what_was_sent_is_not_sent_back_whole() {
        let json = format!("{{\"{}\": 1}}", "x".repeat(1 << 20));
        let Err(error) = parse_object::<JobSpec>(json.as_bytes(), "") else {
            panic!("it is unknown")
        };
        assert!(format!("{error:?}").len() < 2000);
    }

    #[test]
    fn what_is_not_json_is_told_apart() {
        for json in ["{", "{\"command\": \"x\"} x", "\u{feff}{}", "{'a': 1}", "{\"command\": NaN}"]
        {
            assert!(refused::<JobSpec>(json).contains("Unreadable"), "{json}");
        }
        assert!(
            refused::<JobSpec>(r#"{"command": "x", "env": {"A": "1", "A": "2"}}"#)
                .contains("twice")
        );
    }
}

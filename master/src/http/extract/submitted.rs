//! The body of a submission: one job or a list of jobs as JSON, or one job per line.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use orchestra_contracts::{JobSpec, Specs};

use super::{body, json};
use crate::http::error::ApiError;

/// Room for thousands of jobs, but not each of maximum size.
const LIMIT: usize = 16 << 20;
/// The media types for one JSON text per line. None of them is registered.
const LINES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// The submitted specs.
pub(in crate::http) struct Submitted(pub(in crate::http) Specs);

impl<S: Send + Sync> FromRequest<S> for Submitted {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let kind = body::media_type(request.headers());
        let by_line = kind.is_some_and(|kind| LINES.contains(&kind.as_str()));
        if !by_line {
            json::check_type(request.headers())?;
        }
        let bytes = body::read(request.into_body(), LIMIT).await?;
        if by_line {
            return lines(&bytes).map(|specs| Self(Specs::Many(specs)));
        }
        if bytes.len() > json::LIMIT && !bytes.trim_ascii_start().starts_with(b"[") {
            return Err(body::too_large(json::LIMIT));
        }
        json::parse_any(&bytes, "").map(Self)
    }
}

/// Parses one job per line. Blank lines are skipped. Error pointers are as for a list.
fn lines(bytes: &Bytes) -> Result<Vec<JobSpec>, ApiError> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let jobs = lines.filter(|line| !line.is_empty()).enumerate();
    jobs.map(|(place, line)| json::parse_object(line, &format!("/{place}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Result<usize, String> {
        let specs = lines(&Bytes::from_static(text.as_bytes()));
        specs.map(|specs| specs.len()).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn every_line_is_a_job() {
        assert_eq!(read("{\"command\": \"a\"}\n\n  {\"command\": \"b\"}\r\n"), Ok(2));
        assert_eq!(read("\n"), Ok(0));
        for (text, said) in [
            ("{\"command\": \"a\"}\n{\"command\": 1}", "/1/command"),
            ("{\"command\": \"a\"}\n[\"b\"]", "pointer: \"/1\""),
            ("{\"command\": \"a\"} {\"command\": \"b\"}", "Unreadable"),
            ("{\"command\":\n\"a\"}", "Unreadable"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }
}

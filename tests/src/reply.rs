//! An HTTP answer, whether it came from the client or from curl.

use bytes::Bytes;
use orchestra_contracts::{PROBLEM_JSON, Problem, ProblemKind};
use serde::de::DeserializeOwned;

/// A complete HTTP answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case, in the order received.
    headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Reply {
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let body = response.bytes().await.expect("the body arrives whole");
        Self { status, headers, body }
    }

    /// Parses the output of `curl -i`.
    pub(crate) fn parse(raw: &[u8]) -> Self {
        let end = raw.windows(4).position(|four| four == b"\r\n\r\n").expect("a header ends");
        let head = String::from_utf8_lossy(&raw[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Self {
            status: status.expect("an answer starts with a status line"),
            headers,
            body: Bytes::copy_from_slice(&raw[end + 4..]),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks the status.
    ///
    /// # Panics
    /// When it is another one; the message holds the body.
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Parses the body.
    ///
    /// # Panics
    /// When it is not JSON of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Checks that this is a problem of this status and kind, with all members that every problem
    /// must have.
    ///
    /// # Panics
    /// When it is anything else.
    pub fn problem(&self, status: u16, kind: ProblemKind) -> Problem {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some(PROBLEM_JSON), "{}", self.text());
        let problem: Problem = self.json();
        assert_eq!(problem.kind, kind, "{problem:?}");
        assert_eq!(problem.status, status, "{problem:?}");
        assert!(!problem.title.is_empty() && !problem.detail.is_empty(), "{problem:?}");
        problem
    }
}

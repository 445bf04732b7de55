//! The URL of a webhook, parsed and checked.

use std::net::IpAddr;

use reqwest::Url;

use super::{Reachable, resolve::refusal_of};

/// Some servers reject longer URLs (RFC 9110, section 4.1, recommends 8,000).
const MAX_BYTES: usize = 2048;

/// A URL that may be sent to, unless its host name resolves to a forbidden address.
#[derive(Clone, Debug)]
pub struct Target(Url);

/// What is wrong with a URL. The text follows the URL in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongTarget(String);

impl Target {
    /// Checks literal addresses here, since they need no lookup. The URL parser normalizes every
    /// spelling of them (`0177.1`, `0x7f.1`, `2130706433`).
    pub(super) fn parse(text: &str, reachable: &Reachable) -> Result<Self, WrongTarget> {
        let refuse = |reason: &str| Err(WrongTarget(reason.to_owned()));
        if text.len() > MAX_BYTES {
            return Err(WrongTarget(format!("has more than {MAX_BYTES} bytes")));
        }
        let url = Url::parse(text).map_err(|error| WrongTarget(format!("is no URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("is not one that begins with http:// or https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("names a user; messages are signed instead");
        }
        if url.fragment().is_some() {
            return refuse("has a fragment, which is never sent");
        }
        let Some(host) = url.host_str() else { return refuse("names no host") };
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if let Ok(address) = literal
            && let Err(what) = reachable.check(address)
        {
            return Err(WrongTarget(refusal_of(&format!("leads to {address}, which"), what)));
        }
        Ok(Self(url))
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Target, WrongTarget> {
        Target::parse(url, &Reachable::default())
    }

    #[test]
    fn usual_addresses_are_taken() {
        for url in [
            "https://a.example/hook?key=1",
            "http://a.example:8080",
            "https://1.1.1.1/",
            "https://[2606:4700:4700::1111]:8443/x",
            "http://localhost/",
        ] {
            assert!(parse(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn literal_addresses_are_known_in_each_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0177.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://127.0.0.1./",
            "http://\u{ff11}27.0.0.1/",
            "http:127.0.0.1",
            "http:\\\\127.0.0.1\\",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://169.254.169.254/latest/meta-data",
            "https://10.0.0.1:5216/api/job",
            "http://0/",
        ] {
            let WrongTarget(reason) = parse(url).expect_err(url);
            assert!(reason.contains("ORCHESTRA_WEBHOOK_ALLOW"), "{url}: {reason}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_receiver_is_refused() {
        let long = format!("https://a.example/{}", "x".repeat(MAX_BYTES));
        for url in [
            "",
            "a.example",
            "/hook",
            "ftp://a.example/",
            "file:///etc/passwd",
            "gopher://a.example/",
            "javascript:alert(1)",
            "http://",
            "http://a b/",
            "http://a.example:99999/",
            "https://user@a.example/",
            "https://user:word@a.example/",
            "https://:word@a.example/",
            "https://a.example/#x",
            &long,
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}

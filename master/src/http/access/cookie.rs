//! The cookie that holds the token of a user who signed in with a browser.
//!
//! Scripts cannot read it, and browsers do not send it with requests from other sites' pages. It
//! lasts for the browser session, and is worth as much as its token: revoking the token ends it.

use axum::http::{HeaderMap, HeaderValue, header};
use orchestra_contracts::Token;

const NAME: &str = "orchestra";
const ATTRIBUTES: &str = "Path=/; HttpOnly; SameSite=Strict";

/// The token in the cookie, if there is exactly one such cookie.
pub(super) fn read(headers: &HeaderMap) -> Option<Token> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let mut ours = pairs.filter(|(name, _)| name.trim() == NAME);
    let (only, None) = (ours.next()?, ours.next()) else { return None };
    Some(Token::new(only.1))
}

/// `secure` if the browser used https: then it never sends the cookie over http.
pub(in crate::http) fn set(token: &Token, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::try_from(format!("{NAME}={}; {ATTRIBUTES}{secure}", token.as_str())).ok()
}

pub(in crate::http) fn unset() -> HeaderValue {
    HeaderValue::from_static("orchestra=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        read(&headers).map(|token| token.as_str().to_owned())
    }

    #[test]
    fn one_cookie_of_our_name_is_read() {
        assert_eq!(of(&["orchestra=abc"]).as_deref(), Some("abc"));
        assert_eq!(of(&["a=b; orchestra=abc; c=d"]).as_deref(), Some("abc"));
        assert_eq!(of(&["a=b", "orchestra=abc"]).as_deref(), Some("abc"));
        for none in [&[][..], &["orchestras=x"], &["orchestra"], &["orchestra=a; orchestra=b"]] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }

    #[test]
    fn it_goes_as_it_came() {
        let unset = unset();
        let gone = unset.to_str().unwrap().strip_suffix("; Max-Age=0").unwrap();
        assert_eq!(set(&Token::new(""), false).unwrap(), gone);
        assert!(set(&Token::new("a"), true).unwrap().to_str().unwrap().ends_with("; Secure"));
    }
}

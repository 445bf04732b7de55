//! How a job can be submitted again after an answer that was lost, and still be one job
//! (draft-ietf-httpapi-idempotency-key-header).

use std::{fmt, str::FromStr};

/// The client's name for one wish, sent as the header `idempotency-key`. A master keeps it
/// for a day: the same key with the same body is the same job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub const HEADER: &str = "idempotency-key";
    /// On an answer that tells of what an earlier request did.
    pub const REPLAYED: &str = "idempotent-replayed";
    pub const MAX_BYTES: usize = 255;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Visible ASCII without quotation marks and backslashes. The quotation marks that the draft
/// puts around it are no part of it.
impl FromStr for IdempotencyKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let key = inner.unwrap_or(text);
        let is_part = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if (1..=Self::MAX_BYTES).contains(&key.len()) && key.bytes().all(is_part) {
            Ok(Self(key.to_owned()))
        } else {
            Err("an idempotency key is 1 to 255 visible ASCII characters without '\"' and '\\'")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_with_and_without_quotation_marks() {
        let plain: IdempotencyKey = "8e03978e-40d5".parse().unwrap();
        assert_eq!("\"8e03978e-40d5\"".parse(), Ok(plain));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(256);
        for text in ["", "\"\"", "a b", "a\"", "\"a", "a\\", "\u{e9}", "\t", &long] {
            assert!(text.parse::<IdempotencyKey>().is_err(), "{text:?}");
        }
        assert!(long[1..].parse::<IdempotencyKey>().is_ok());
    }
}

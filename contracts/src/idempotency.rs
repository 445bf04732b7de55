//! Idempotency keys: a job can be submitted again after a lost answer and is still created only
//! once (draft-ietf-httpapi-idempotency-key-header).

use std::{fmt, str::FromStr};

/// The client's name for one request, sent in the header `idempotency-key`. A master remembers it
/// for a day: the same key with the same body means the same job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub const HEADER: &str = "idempotency-key";
    /// Response header that marks the result of an earlier request.
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

/// Visible ASCII without quotation marks and backslashes. The surrounding quotation marks that the
/// draft requires are not part of the key.
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

//! Files that are uploaded to the master before the jobs that need them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The SHA-256 of a file's content, in 64 lower-case hexadecimal digits. It is the upload's name,
/// so the same content is stored once, and a complete transfer can be verified.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash(String);

impl ContentHash {
    const DIGITS: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContentHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for ContentHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == Self::DIGITS && text.bytes().all(is_digit) {
            Ok(Self(text))
        } else {
            Err("a SHA-256 has 64 lower-case hexadecimal digits")
        }
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.0
    }
}

/// The answer to `PUT /api/upload/{sha256}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    pub sha256: ContentHash,
    /// The number of bytes stored.
    pub bytes: u64,
    /// Whether the stored bytes have this SHA-256. If not, the rest is expected, starting at
    /// `bytes`.
    pub complete: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_one_spelling() {
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(good.parse::<ContentHash>().unwrap().to_string(), good);
        let (upper, long) = (good.to_uppercase(), format!("{good}0"));
        for wrong in ["", "0", &good[1..], &upper, &long, &good.replace('0', "g")] {
            assert!(wrong.parse::<ContentHash>().is_err(), "{wrong:?}");
        }
    }
}

//! Access tokens, and the calls that manage them.
//!
//! ```text
//! POST   /api/token        NewToken  -> IssuedToken, the only answer that shows a token
//! GET    /api/token                  -> [TokenInfo]
//! DELETE /api/token/{id}             -> TokenInfo
//! ```

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::WorkerName;

/// The secret that authenticates a program, sent as `Authorization: Bearer <token>`. `Debug` does
/// not show it. It has no equality: code that compares tokens has to compare hashes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// The prefix of every token, by which people and secret scanners recognize one.
    pub const PREFIX: &str = "orchestra_";
    /// Hexadecimal digits after the prefix: 256 random bits.
    pub const DIGITS: usize = 64;

    /// Accepts any text. Surrounding whitespace, such as the final line feed of a file, is not part
    /// of the token.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it looks like a token made by a master. A weak secret must not be accepted as a
    /// token, because only a fast hash of it is stored.
    pub fn is_well_formed(&self) -> bool {
        let digits = self.0.strip_prefix(Self::PREFIX).unwrap_or_default();
        digits.len() == Self::DIGITS
            && digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What a token permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything that people do with jobs.
    Client,
    /// Registering, claiming, and reporting on its own attempts. It cannot read other jobs.
    Worker,
    /// Everything, including the management of tokens.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Client, Self::Worker, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Worker => "worker",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == text);
        known.ok_or("a role is client, worker or admin")
    }
}

/// A token's id, by which it is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub i64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TokenId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(id) if id > 0 => Ok(Self(id)),
            _ => Err("a token's id is a positive whole number; `orchestra token ls` shows it"),
        }
    }
}

/// Creates a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewToken {
    pub role: Role,
    /// The owner, for people who read the list: 1 to 64 letters, digits, `.`, `_` or `-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The only worker that this token may act for; no other token may then act for that worker.
    /// Only for the role `worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerName>,
}

/// Facts about a token; never the token itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    pub id: TokenId,
    pub role: Role,
    pub name: Option<String>,
    pub worker: Option<WorkerName>,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// A newly created token. It is not shown again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedToken {
    pub token: Token,
    #[serde(flatten)]
    pub info: TokenInfo,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_print() {
        let token = Token::new("orchestra_secret\n");
        assert_eq!(token.as_str(), "orchestra_secret");
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn only_what_a_master_makes_is_well_formed() {
        let digits = "0123456789abcdef".repeat(4);
        assert!(Token::new(&format!("orchestra_{digits}")).is_well_formed());
        for wrong in ["", "hunter2", &digits, "orchestra_", &format!("orchestra_{digits}0")] {
            assert!(!Token::new(wrong).is_well_formed(), "{wrong}");
        }
        assert!(!Token::new(&format!("orchestra_{}", digits.to_uppercase())).is_well_formed());
    }

    #[test]
    fn roles_are_read_as_they_are_written() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert!("root".parse::<Role>().is_err());
    }
}

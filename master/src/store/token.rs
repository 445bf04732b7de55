//! API tokens, as they are stored: by hash.

use std::fmt;

use jiff::Timestamp;
use orchestra_contracts::{Role, TokenId, WorkerName};

/// What a token permits, and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenGrant {
    pub role: Role,
    pub name: Option<String>,
    /// The only worker that the token may act for; `None` for any.
    pub worker: Option<WorkerName>,
    pub hash: TokenHash,
}

/// The SHA-256 of a token. A slow hash would add nothing: a token is 256 random
/// bits, which nobody guesses at any speed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// A token, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    pub id: TokenId,
    pub grant: TokenGrant,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

//! The valid tokens, in memory: authentication needs no query, and long requests end at once when
//! their token is revoked.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use orchestra_contracts::{Role, Token, TokenId, WorkerName};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use super::Caller;
use crate::store::{TokenGrant, TokenHash};

/// One valid token, by its hash.
pub(super) fn hash_of(token: &Token) -> TokenHash {
    TokenHash(Sha256::digest(token.as_str()).into())
}

#[derive(Debug, Default)]
pub(super) struct Keyring(RwLock<Vec<Key>>);

#[derive(Debug)]
struct Key {
    /// `None` for a token that is not in the database.
    id: Option<TokenId>,
    role: Role,
    worker: Option<WorkerName>,
    hash: TokenHash,
    revoked: CancellationToken,
}

impl Keyring {
    pub(super) fn add(&self, id: Option<TokenId>, grant: TokenGrant) {
        let TokenGrant { role, worker, hash, .. } = grant;
        let revoked = CancellationToken::new();
        self.write().push(Key { id, role, worker, hash, revoked });
    }

    pub(super) fn remove(&self, id: TokenId) {
        self.write().retain(|key| {
            let goes = key.id == Some(id);
            if goes {
                key.revoked.cancel();
            }
            !goes
        });
    }

    pub(super) fn has(&self, id: TokenId) -> bool {
        self.read().iter().any(|key| key.id == Some(id))
    }

    /// The caller with this token, if it is valid. The time of the check reveals nothing: every
    /// hash is compared, each in constant time.
    pub(super) fn holder(&self, token: &Token) -> Option<Caller> {
        let hash = hash_of(token);
        let mut found = None;
        for key in self.read().iter() {
            if bool::from(key.hash.0.ct_eq(&hash.0)) {
                let (worker, revoked) = (key.worker.clone(), key.revoked.clone());
                found = Some(Caller::with_token(key.role, worker, key.id, revoked));
            }
        }
        found
    }

    /// Whether a valid token is for this worker alone.
    pub(super) fn names(&self, worker: &WorkerName) -> bool {
        self.read().iter().any(|key| key.worker.as_ref() == Some(worker))
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Key>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Key>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(token: &str, role: Role) -> TokenGrant {
        TokenGrant { role, name: None, worker: None, hash: hash_of(&Token::new(token)) }
    }

    #[test]
    fn the_hash_is_sha_256() {
        // printf abc | sha256sum
        let TokenHash(hash) = hash_of(&Token::new("abc"));
        assert!(hex::encode(hash).starts_with("ba7816bf8f01cfea"));
    }

    #[test]
    fn only_a_valid_token_has_a_holder() {
        let keyring = Keyring::default();
        keyring.add(Some(TokenId(1)), grant("one", Role::Client));
        keyring.add(Some(TokenId(2)), grant("two", Role::Admin));
        let one = keyring.holder(&Token::new("one")).unwrap();
        assert_eq!((one.role(), one.token()), (Role::Client, Some(TokenId(1))));
        assert_eq!(keyring.holder(&Token::new("two")).unwrap().role(), Role::Admin);
        for wrong in ["", "on", "one1", "ONE"] {
            assert!(keyring.holder(&Token::new(wrong)).is_none(), "{wrong}");
        }
        keyring.remove(TokenId(1));
        assert!(keyring.holder(&Token::new("one")).is_none());
        assert!(one.revoked().is_cancelled(), "who waits hears of it");
        assert!(keyring.holder(&Token::new("two")).is_some());
    }
}

//! Issues, adopts, lists and revokes tokens.

use orchestra_contracts::{FieldError, IssuedToken, NewToken, Role, Token, TokenId, TokenInfo};

use super::{Caller, Service, ServiceError, keyring::hash_of};
use crate::store::{TokenGrant, TokenRecord};

const MAX_NAME: usize = 64;
/// The name of tokens that were adopted from a file. Nobody can request it: it has brackets.
const FROM_FILE: &str = "(file)";

/// The result of the adoption of a token from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    Valid,
    /// The token was revoked, and stays revoked.
    Revoked,
}

impl Service {
    /// Loads the valid tokens, once, at the start. Returns how many there are.
    pub async fn load_tokens(&self) -> Result<usize, ServiceError> {
        let _changing = self.changing_tokens.lock().await;
        let valid = self.store.tokens().await?.into_iter().filter(|it| it.revoked_at.is_none());
        Ok(valid.map(|record| self.keyring.add(Some(record.id), record.grant)).count())
    }

    /// Reloads the valid tokens, where other masters issue and revoke tokens as well.
    pub(super) async fn reload_tokens(&self) -> Result<(), ServiceError> {
        let _changing = self.changing_tokens.lock().await;
        for record in self.store.tokens().await? {
            match (record.revoked_at, self.keyring.has(record.id)) {
                (None, false) => self.keyring.add(Some(record.id), record.grant),
                (Some(_), true) => self.keyring.remove(record.id),
                (None, true) | (Some(_), false) => {}
            }
        }
        Ok(())
    }

    /// The caller with this token, if it is valid.
    pub fn holder(&self, token: &Token) -> Option<Caller> {
        self.keyring.holder(token)
    }

    /// Issues a token. The answer is the only place where the token itself appears.
    pub async fn issue_token(&self, wanted: NewToken) -> Result<IssuedToken, ServiceError> {
        let errors = refusals(&wanted);
        if !errors.is_empty() {
            return Err(ServiceError::Invalid(errors));
        }
        let NewToken { role, name, worker } = wanted;
        let token = new_token();
        let grant = TokenGrant { role, name, worker, hash: hash_of(&token) };
        let _changing = self.changing_tokens.lock().await;
        let record = self.add_token(grant).await?;
        tracing::info!(id = %record.id, %role, "a token was issued");
        Ok(IssuedToken { token, info: info(record) })
    }

    /// All tokens, revoked ones included, oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, ServiceError> {
        Ok(self.store.tokens().await?.into_iter().map(info).collect())
    }

    /// Revokes a token: it is not accepted any more, and open requests with it end.
    pub async fn revoke_token(&self, id: TokenId) -> Result<TokenInfo, ServiceError> {
        let _changing = self.changing_tokens.lock().await;
        self.take_back(id).await
    }

    /// Adopts the token in the file of this role. The token that the file held before is revoked.
    pub async fn adopt_token(&self, role: Role, token: &Token) -> Result<Adopted, ServiceError> {
        let hash = hash_of(token);
        let _changing = self.changing_tokens.lock().await;
        let tokens = self.store.tokens().await?;
        if let Some(known) = tokens.iter().find(|known| known.grant.hash == hash) {
            let valid = known.revoked_at.is_none() && known.grant.role == role;
            return Ok(if valid { Adopted::Valid } else { Adopted::Revoked });
        }
        let is_former = |it: &&TokenRecord| {
            it.grant.name.as_deref() == Some(FROM_FILE)
                && it.grant.role == role
                && it.revoked_at.is_none()
        };
        for former in tokens.iter().filter(is_former) {
            self.take_back(former.id).await?;
        }
        let name = Some(FROM_FILE.to_owned());
        self.add_token(TokenGrant { role, name, worker: None, hash }).await?;
        Ok(Adopted::Valid)
    }

    /// Accepts this token as long as this process lives: it is for the worker that runs in the same
    /// process.
    pub fn lend_token(&self, token: &Token) {
        let hash = hash_of(token);
        self.keyring.add(None, TokenGrant { role: Role::Admin, name: None, worker: None, hash });
    }

    async fn add_token(&self, grant: TokenGrant) -> Result<TokenRecord, ServiceError> {
        let record = self.store.add_token(grant, self.clock.now()).await?;
        self.keyring.add(Some(record.id), record.grant.clone());
        Ok(record)
    }

    async fn take_back(&self, id: TokenId) -> Result<TokenInfo, ServiceError> {
        let record = self.store.revoke_token(id, self.clock.now()).await?;
        let record = record.ok_or(ServiceError::NoSuchToken(id))?;
        self.keyring.remove(id);
        tracing::info!(%id, "a token was revoked");
        Ok(info(record))
    }
}

fn refusals(wanted: &NewToken) -> Vec<FieldError> {
    let fits = |name: &String| {
        (1..=MAX_NAME).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    };
    let checks = [
        (
            wanted.name.as_ref().is_some_and(|name| !fits(name)),
            "/name",
            "is not 1 to 64 letters, digits, '.', '_' or '-'",
        ),
        (
            wanted.worker.is_some() && wanted.role != Role::Worker,
            "/worker",
            "goes with the role worker alone",
        ),
    ];
    let wrong = checks.into_iter().filter(|(wrong, ..)| *wrong);
    wrong
        .map(|(_, pointer, detail)| FieldError { pointer: pointer.into(), detail: detail.into() })
        .collect()
}

/// 256 random bits.
pub fn new_token() -> Token {
    let mut bits = [0; Token::DIGITS / 2];
    getrandom::fill(&mut bits).expect("the system has random numbers");
    Token::new(&format!("{}{}", Token::PREFIX, hex::encode(bits)))
}

fn info(record: TokenRecord) -> TokenInfo {
    let TokenRecord { id, grant, created_at, revoked_at } = record;
    let TokenGrant { role, name, worker, .. } = grant;
    TokenInfo { id, role, name, worker, created_at, revoked_at }
}

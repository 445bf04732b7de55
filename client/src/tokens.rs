//! Token calls, which only admins make.

use orchestra_contracts::{IssuedToken, NewToken, TokenId, TokenInfo, paths};
use reqwest::Method;

use crate::{Client, ClientError};

impl Client {
    /// Creates a token. Only this answer shows it.
    pub async fn issue_token(&self, wanted: &NewToken) -> Result<IssuedToken, ClientError> {
        self.fetch(self.call(Method::POST, paths::TOKENS).json(wanted)).await
    }

    /// All tokens, including revoked ones, oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, ClientError> {
        self.fetch(self.call(Method::GET, paths::TOKENS)).await
    }

    /// Revokes a token for good. Safe to repeat.
    pub async fn revoke_token(&self, id: TokenId) -> Result<TokenInfo, ClientError> {
        self.fetch(self.call(Method::DELETE, &paths::token(id))).await
    }
}

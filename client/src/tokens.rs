//! The calls that only admins make.

use orchestra_contracts::{IssuedToken, NewToken, TokenId, TokenInfo, paths};
use reqwest::Method;

use crate::{Client, ClientError};

impl Client {
    /// Makes a token; the answer is the only one that shows it.
    pub async fn issue_token(&self, wanted: &NewToken) -> Result<IssuedToken, ClientError> {
        self.fetch(self.call(Method::POST, paths::TOKENS).json(wanted)).await
    }

    /// All tokens that ever were, oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, ClientError> {
        self.fetch(self.call(Method::GET, paths::TOKENS)).await
    }

    /// Takes a token back, for good. Repeating it is safe.
    pub async fn revoke_token(&self, id: TokenId) -> Result<TokenInfo, ClientError> {
        self.fetch(self.call(Method::DELETE, &paths::token(id))).await
    }
}

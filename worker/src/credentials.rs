//! What lets a program in at a master that asks for a token: settings that the
//! worker and the command line share.

use std::{convert::Infallible, path::PathBuf};

use orchestra_client::{Client, ClientError, token_from};
use orchestra_contracts::Token;

/// The token, or the file that holds it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Credentials {
    /// The token itself. As a flag every user of the machine could read it.
    #[arg(long = "token", env = "ORCHESTRA_TOKEN", hide = true, value_parser = any_text)]
    token: Option<Token>,

    /// The file with the token for a master that asks for one; the variable `ORCHESTRA_TOKEN`
    /// can hold the token itself
    #[arg(long, env = "ORCHESTRA_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Credentials {
    /// Those of a program that was handed its token.
    pub fn with(token: Token) -> Self {
        Self { token: Some(token), token_file: None }
    }

    /// A client of the master at `url` that shows the token, where there is one.
    ///
    /// # Errors
    /// When the address or the token cannot be used.
    pub fn client(&self, url: &str) -> Result<Client, ClientError> {
        let client = Client::new(url)?;
        match token_from(self.token.as_ref(), self.token_file.as_deref())? {
            Some(token) => client.with_token(&token),
            None => Ok(client),
        }
    }
}

/// Refuses nothing: whoever refuses a value here prints it.
#[expect(clippy::unnecessary_wraps, reason = "a value parser answers a result")]
fn any_text(text: &str) -> Result<Token, Infallible> {
    Ok(Token::new(text))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        credentials: Credentials,
    }

    #[test]
    fn a_token_is_never_printed() {
        let program = Program::try_parse_from(["program", "--token", "hunter2"]).unwrap();
        assert!(!format!("{program:?}").contains("hunter2"));
        let error = program.credentials.client("localhost").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn without_a_token_none_is_shown() {
        let program = Program::try_parse_from(["program"]).unwrap();
        assert!(program.credentials.client("localhost").is_ok());
    }
}

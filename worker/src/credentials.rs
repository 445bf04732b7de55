//! Settings for a program's access to a master: the token it presents, and the authority it trusts
//! to identify the master. The worker and the command line share them.

use std::{convert::Infallible, path::PathBuf};

use orchestra_client::{Client, ClientError, token_from};
use orchestra_contracts::Token;

/// The token, or the file that holds it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Credentials {
    /// The token itself. As a flag, every user of the machine could read it.
    #[arg(long = "token", env = "ORCHESTRA_TOKEN", hide = true, value_parser = any_text)]
    token: Option<Token>,

    /// The file with the token, if the master requires one; the variable `ORCHESTRA_TOKEN` can
    /// contain the token itself
    #[arg(long, env = "ORCHESTRA_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The file with the certificate (PEM) of the authority to trust for the master's certificate,
    /// instead of the system's authorities
    #[arg(long, env = "ORCHESTRA_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Send the token even if others on the network could read it: over http:// to another machine
    #[arg(long, env = "ORCHESTRA_INSECURE")]
    insecure: bool,
}

impl Credentials {
    /// For a program that got its token from a master in its own process.
    pub fn with(token: Token) -> Self {
        Self { token: Some(token), insecure: true, ..Self::default() }
    }

    /// A client of the master at `url`, which presents the token if there is one.
    ///
    /// # Errors
    /// If the address or the token is invalid, or if the token would travel in clear text over the
    /// network.
    pub fn client(&self, url: &str) -> Result<Client, ClientError> {
        let client = Client::trusting(url, self.ca_file.as_deref())?;
        match token_from(self.token.as_ref(), self.token_file.as_deref())? {
            Some(_) if client.is_in_clear() && !self.insecure => Err(ClientError::Token(format!(
                "{} is reached without TLS, so that others could read it on the way; use https://, \
                 a tunnel, or ORCHESTRA_INSECURE=true where nobody can",
                client.url()
            ))),
            Some(token) => client.with_token(&token),
            None => Ok(client),
        }
    }
}

/// Accepts any text, because an error for a value here would print the value.
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
    fn a_token_is_not_shown_to_the_network_unless_told() {
        let token = format!("{}{}", Token::PREFIX, "0f".repeat(32));
        let client = |url: &str, more: &[&str]| {
            let arguments = [&["program", "--token", &token], more].concat();
            Program::try_parse_from(arguments).unwrap().credentials.client(url)
        };
        let refused = client("http://10.0.0.1:5216", &[]).unwrap_err().to_string();
        assert!(refused.contains("ORCHESTRA_INSECURE") && !refused.contains(&token), "{refused}");
        assert!(client("master", &[]).is_err());
        assert!(client("https://10.0.0.1", &[]).is_ok() && client("http://127.0.0.1", &[]).is_ok());
        assert!(client("http://10.0.0.1:5216", &["--insecure"]).is_ok());
    }

    #[test]
    fn without_a_token_none_is_shown() {
        let program = Program::try_parse_from(["program"]).unwrap();
        assert!(program.credentials.client("localhost").is_ok());
    }
}

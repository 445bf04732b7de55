//! Why something could not be measured.

use orchestra_client::ClientError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
    #[error("the engine: {0}")]
    Engine(#[from] bollard::errors::Error),
    #[error("the master: {0}")]
    Master(#[from] ClientError),
    /// A required program or library is not installed.
    #[error("{what} is missing: {how}")]
    Missing { what: &'static str, how: &'static str },
    /// The answer was not the one to be measured.
    #[error("{0}")]
    Unexpected(String),
}

impl BenchError {
    /// For `map_err`; `what` names the operation.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Io { what: what.into(), error }
    }

    pub(crate) fn unexpected(text: impl Into<String>) -> Self {
        Self::Unexpected(text.into())
    }
}

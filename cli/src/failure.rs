//! Failures of our own: one sentence on standard error, exit code 125.

use std::{io, process::ExitCode};

use orchestra_client::{ClientError, FetchError};
use orchestra_master::MasterError;
use orchestra_worker::WorkerError;

use crate::{exit::Exit, output};

/// Why the command could not do its work. Each prints as one sentence that says
/// what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{error}{advice}", error = .0, advice = advice(.0))]
    Client(#[from] ClientError),
    #[error("{0}")]
    Fetch(FetchError),
    #[error(transparent)]
    Master(#[from] MasterError),
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
    /// Settings that clap refused outside the command line; it prints them best.
    #[error("{0}")]
    Usage(#[from] clap::Error),
    #[error("{0}")]
    Said(String),
}

fn advice(error: &ClientError) -> &'static str {
    match error {
        ClientError::Unreachable { .. } => {
            "; start a master with `orchestra up`, or name one with --url"
        }
        _ => "",
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Client(error) => Self::Client(error),
            error => Self::Fetch(error),
        }
    }
}

impl Failure {
    pub(crate) fn said(text: impl Into<String>) -> Self {
        Self::Said(text.into())
    }

    /// Says it, and answers the code to exit with.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            // Whoever read our output has seen enough, as in `orchestra ls | head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Usage(error) => error.exit(),
            failure => {
                output::say(&failure.to_string());
                Exit::FAILURE.into()
            }
        }
    }
}

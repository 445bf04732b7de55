//! Why an engine call failed, in words that help.

use std::{error::Error, io, time::Duration};

use bollard::errors::Error as BollardError;

/// Why an engine call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("no container engine at {address}: {reason}. {advice}")]
    Unreachable { address: String, reason: String, advice: String },
    #[error("the engine knows no such thing: {0}")]
    NotFound(String),
    /// Another client does the same, or has already done it.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Refused(String),
    #[error("the engine did not {what} within {} s", .limit.as_secs())]
    TimedOut { what: &'static str, limit: Duration },
    #[error("the connection to the engine broke: {0}")]
    Broken(String),
}

impl EngineError {
    /// The engine could not do it, refused it, or did not answer.
    pub(super) fn is_failure(&self) -> bool {
        !matches!(self, Self::NotFound(_) | Self::Conflict(_))
    }

    /// The engine gave no answer. Whether it did what was asked, or still will, is unknown.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Broken(_))
    }
}

pub(super) fn explain(address: &str, limit: Duration, error: BollardError) -> EngineError {
    match error {
        BollardError::DockerResponseServerError { status_code: 404, message } => {
            EngineError::NotFound(message)
        }
        BollardError::DockerResponseServerError { status_code: 409, message } => {
            EngineError::Conflict(message)
        }
        BollardError::DockerResponseServerError { message, .. } => EngineError::Refused(message),
        BollardError::RequestTimeoutError => EngineError::TimedOut { what: "answer", limit },
        BollardError::SocketNotFoundError(_) => unreachable(address, io::ErrorKind::NotFound),
        BollardError::UnsupportedURISchemeError { .. } => EngineError::Unreachable {
            address: address.to_owned(),
            reason: "it is not an address of an engine".to_owned(),
            advice: "DOCKER_HOST is written like unix:///var/run/docker.sock or tcp://host:2375"
                .to_owned(),
        },
        error => match io_kind(&error) {
            Some(kind) => unreachable(address, kind),
            None => EngineError::Broken(innermost(&error).to_string()),
        },
    }
}

fn unreachable(address: &str, kind: io::ErrorKind) -> EngineError {
    let (reason, advice) = match kind {
        io::ErrorKind::NotFound => (
            "there is no such socket",
            "Install an engine (on Debian: sudo apt-get install docker.io), or set DOCKER_HOST to where one listens",
        ),
        io::ErrorKind::PermissionDenied => (
            "permission denied",
            "Join its group and log in again: sudo usermod -aG docker \"$USER\"",
        ),
        io::ErrorKind::ConnectionRefused => {
            ("nobody listens", "Start it: sudo systemctl start docker")
        }
        _ => ("the connection broke", "See whether it runs: docker info"),
    };
    EngineError::Unreachable {
        address: address.to_owned(),
        reason: reason.to_owned(),
        advice: advice.to_owned(),
    }
}

/// The operating system's error if the connection could not be made.
fn io_kind(error: &BollardError) -> Option<io::ErrorKind> {
    if !matches!(error, BollardError::HyperLegacyError { err } if err.is_connect()) {
        return None;
    }
    innermost(error).downcast_ref::<io::Error>().map(io::Error::kind)
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

#[cfg(test)]
mod tests {
    use super::super::Engine;

    async fn refusal(address: &str) -> String {
        Engine::connect(address).await.err().expect("nobody is there").to_string()
    }

    #[tokio::test]
    async fn each_way_to_have_no_engine_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let socket = format!("unix://{}/engine.sock", folder.path().display());
        assert!(refusal(&socket).await.contains("apt-get install docker.io"));

        drop(std::os::unix::net::UnixListener::bind(folder.path().join("engine.sock")).unwrap());
        assert!(refusal(&socket).await.contains("systemctl start docker"));

        assert!(refusal("gopher://engine").await.contains("DOCKER_HOST"));
    }
}

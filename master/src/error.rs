//! Why a master did not start, or stopped. Each message says what to do.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{service::ServiceError, store::StoreError};

#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    #[error(
        "another program listens on {0} already; stop it, or choose another port with --listen or ORCHESTRA_LISTEN"
    )]
    AddressInUse(SocketAddr),
    #[error(
        "cannot listen on {address} ({reason}); choose another address with --listen or ORCHESTRA_LISTEN"
    )]
    Listen { address: SocketAddr, reason: io::Error },
    #[error(
        "cannot write to the data folder {path} ({reason}); make it writable, or choose another with --data or ORCHESTRA_DATA",
        path = .path.display()
    )]
    DataFolder { path: PathBuf, reason: io::Error },
    #[error(
        "others than this machine can reach {0}, and nobody has a token yet; let the master make one for each role with --tokens FOLDER or ORCHESTRA_TOKENS, or listen on 127.0.0.1"
    )]
    NoTokens(SocketAddr),
    #[error("the token file {path} cannot be used: {reason}", path = .path.display())]
    TokenFile { path: PathBuf, reason: String },
    #[error("the key for secrets in {path} cannot be used: {reason}", path = .path.display())]
    SecretKey { path: PathBuf, reason: String },
    #[error("{0}; --tls-cert and --tls-key name files in PEM that belong together")]
    Tls(String),
    #[error("the tokens cannot be read: {0}")]
    Tokens(#[from] ServiceError),
    #[error("the database cannot be used: {0}")]
    Database(#[from] StoreError),
    /// An error of an administration command. The message names the file or database.
    #[error("{0}")]
    Admin(StoreError),
    #[error("{0}")]
    Setting(String),
    #[error(
        "{task} stopped unexpectedly{reason}; this is a defect, please report it with the lines above"
    )]
    Crashed { task: &'static str, reason: String },
}

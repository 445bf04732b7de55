//! What this module answers with.

use jiff::Timestamp;

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyImage {
    /// For example `orchestra/gcc:0123456789ab`.
    pub reference: String,
    /// The engine's own id, `sha256:...`.
    pub id: String,
    /// What its registry calls it, `sha256:...`, where it comes out of one.
    pub digest: Option<String>,
}

/// One folder under `images/`, and what the engine has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageStatus {
    pub name: String,
    /// What the folder, as it is now, is built to.
    pub reference: String,
    pub built: bool,
    /// Bytes with all layers, where it is built.
    pub size: Option<u64>,
    /// The last use, or the build, where it is built.
    pub last_used: Option<Timestamp>,
}

/// An image that was built here of a folder that is not so any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleImage {
    /// The folder's.
    pub name: String,
    /// Its tag, or the image's id where it has lost that.
    pub reference: String,
    pub size: u64,
    /// Or built.
    pub last_used: Timestamp,
    /// Whether there is a container made of it.
    pub in_use: bool,
}

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("there is no job image {name:?}; {}", in_words(known))]
    Unknown { name: String, known: Vec<String> },
    #[error(
        "it asks for the image {0} of a registry, and this worker's operator allows none like it (ORCHESTRA_ALLOW_IMAGES)"
    )]
    NotAllowed(String),
    /// Its folder is no use, and another try would come to the same. The reason is a sentence;
    /// the last lines of its build follow.
    #[error("{reason}")]
    Broken { reason: String },
    /// It could not be had, and perhaps can be another time. The reason is a sentence; where the build itself
    /// failed, the last lines of its output follow.
    #[error("{reason}")]
    Unavailable { reason: String },
}

impl ImageError {
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    pub(super) fn engine(err: &bollard::errors::Error) -> Self {
        Self::because(format!("the engine did not answer a question about its images: {err}"))
    }
}

fn in_words(known: &[String]) -> String {
    if known.is_empty() {
        "no folder with a Dockerfile stands in the images folder".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    }
}

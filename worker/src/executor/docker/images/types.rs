//! The results of this module.

use jiff::Timestamp;

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyImage {
    /// For example `orchestra/gcc:0123456789ab`.
    pub reference: String,
    /// The engine's own id, `sha256:...`.
    pub id: String,
    /// Its digest in its registry, `sha256:...`, if it comes from one.
    pub digest: Option<String>,
}

/// One folder under `images/`, and the state of its image on the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageStatus {
    pub name: String,
    /// The reference of the folder as it is now.
    pub reference: String,
    pub built: bool,
    /// Bytes including all layers, if built.
    pub size: Option<u64>,
    /// Time of the last use, or of the build, if built.
    pub last_used: Option<Timestamp>,
}

/// An image that was built here from a folder that has changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleImage {
    /// The folder's name.
    pub name: String,
    /// Its tag, or the image's id if it has lost its tag.
    pub reference: String,
    pub size: u64,
    /// Time of the last use, or of the build.
    pub last_used: Timestamp,
    /// Whether a container uses it.
    pub in_use: bool,
}

/// Why an image is not available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("there is no job image {name:?}; {}", in_words(known))]
    Unknown { name: String, known: Vec<String> },
    #[error(
        "it asks for the image {0} of a registry, and this worker's operator allows none like it (ORCHESTRA_ALLOW_IMAGES)"
    )]
    NotAllowed(String),
    /// The folder is at fault, and another try would fail in the same way. The reason is a
    /// sentence, followed by the last lines of the build.
    #[error("{reason}")]
    Broken { reason: String },
    /// The image is not available now, but may be later. The reason is a sentence; if the build
    /// itself failed, the last lines of its output follow.
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

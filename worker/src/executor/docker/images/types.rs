//! What this module answers with.

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyImage {
    /// For example `orchestra/gcc:0123456789ab`.
    pub reference: String,
    /// The engine's own id, `sha256:...`.
    pub id: String,
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
}

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("there is no job image {name:?}; {}", in_words(known))]
    Unknown { name: String, known: Vec<String> },
    /// It could not be built. The reason is a sentence; where the build itself
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

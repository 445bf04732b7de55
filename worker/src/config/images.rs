//! The operator's settings for job images: which registry images are allowed, how long builds and
//! pulls may take, and how long an image is kept.

use std::{path::PathBuf, time::Duration};

use orchestra_contracts::{ImagePattern, Span};

/// Settings for job images.
#[derive(Clone, Debug, clap::Args)]
pub struct ImagesConfig {
    /// How long the build of a job image may take
    #[arg(long, env = "ORCHESTRA_BUILD_TIMEOUT", value_name = "TIME",
          default_value_t = BUILD_TIMEOUT)]
    pub build_timeout: Span,

    /// How long a build may print nothing
    #[arg(long, env = "ORCHESTRA_BUILD_IDLE", value_name = "TIME", default_value_t = BUILD_IDLE)]
    pub build_idle: Span,

    /// How long an image is kept after its last use once its folder has changed
    #[arg(long, env = "ORCHESTRA_KEEP_IMAGES", value_name = "TIME", default_value_t = KEEP_IMAGES)]
    pub keep_images: Span,

    /// How many such images are kept per folder; those used within the last hour are always kept
    #[arg(long, env = "ORCHESTRA_KEEP_IMAGE_COUNT", value_name = "COUNT",
          default_value_t = KEEP_IMAGE_COUNT)]
    pub keep_image_count: u32,

    /// Registry images that jobs may use, as patterns separated by commas; `*` is any part between
    /// two slashes, `**` any number of parts [default: none]
    #[arg(long, env = "ORCHESTRA_ALLOW_IMAGES", value_name = "PATTERN", value_delimiter = ',')]
    pub allow_images: Vec<ImagePattern>,

    /// How long the pull of an image may take
    #[arg(long, env = "ORCHESTRA_PULL_TIMEOUT", value_name = "TIME",
          default_value_t = PULL_TIMEOUT)]
    pub pull_timeout: Span,

    /// How long a pull may receive nothing
    #[arg(long, env = "ORCHESTRA_PULL_IDLE", value_name = "TIME", default_value_t = PULL_IDLE)]
    pub pull_idle: Span,

    /// The folder of the config.json that `docker login` writes [default: .docker in the home
    /// folder]
    #[arg(long, env = "DOCKER_CONFIG", value_name = "FOLDER")]
    pub docker_config: Option<PathBuf>,
}

impl ImagesConfig {
    /// The path of the file with the registry logins, whether or not it exists.
    pub(crate) fn registry_logins(&self) -> Option<PathBuf> {
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker"));
        Some(self.docker_config.clone().or_else(home)?.join("config.json"))
    }
}

/// Large toolchains over a slow line take some ten minutes.
const BUILD_TIMEOUT: Span = Span(Duration::from_mins(20));
/// A quiet compiler may print nothing for minutes.
const BUILD_IDLE: Span = Span(Duration::from_mins(10));
const KEEP_IMAGES: Span = Span(Duration::from_hours(14 * 24));
const PULL_TIMEOUT: Span = Span(Duration::from_mins(20));
/// A reachable registry answers within seconds, and engines report every piece.
const PULL_IDLE: Span = Span(Duration::from_mins(1));
/// Enough for several branches that share an engine.
const KEEP_IMAGE_COUNT: u32 = 5;

impl Default for ImagesConfig {
    fn default() -> Self {
        Self {
            build_timeout: BUILD_TIMEOUT,
            build_idle: BUILD_IDLE,
            keep_images: KEEP_IMAGES,
            keep_image_count: KEEP_IMAGE_COUNT,
            allow_images: Vec::new(),
            pull_timeout: PULL_TIMEOUT,
            pull_idle: PULL_IDLE,
            docker_config: None,
        }
    }
}

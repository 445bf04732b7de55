//! The container engine of this machine, for the verbs that speak to it themselves.

use std::{ffi::OsString, path::PathBuf};

use crate::{failure::Failure, local::Settings};

const IMAGES: &str = "The folder of job images [default: ./images, or ORCHESTRA_IMAGES]";
const ENGINE: &str = "The container engine [default: unix:///var/run/docker.sock, or DOCKER_HOST]";

#[derive(Debug, clap::Args)]
pub(crate) struct Engine {
    #[arg(long, value_name = "FOLDER", help = IMAGES)]
    images: Option<PathBuf>,

    #[arg(long, value_name = "URL", help = ENGINE)]
    engine: Option<OsString>,
}

impl Engine {
    /// What a worker on this machine would be told.
    pub(crate) fn worker(self) -> Result<orchestra_worker::Config, Failure> {
        let images = self.images.map(|folder| ["--images".into(), folder.into_os_string()]);
        let engine = self.engine.map(|url| ["--engine".into(), url]);
        Ok(Settings::read([images, engine].into_iter().flatten().flatten())?.worker)
    }
}

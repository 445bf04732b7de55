//! Files that are brought to the master before the job that has them.

use std::path::PathBuf;

use orchestra_client::Client;
use orchestra_contracts::ContentHash;
use tokio::fs::File;

use crate::{failure::Failure, output::bar::Bar};

/// A file of this machine, as it was when its hash was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalFile {
    pub(crate) path: PathBuf,
    pub(crate) sha256: ContentHash,
    pub(crate) bytes: u64,
}

/// What has to be there before a spec is submitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uploads(pub(crate) Vec<LocalFile>);

impl Uploads {
    /// One after the other; those that the master has already cost next to nothing.
    pub(crate) async fn bring(&self, client: &Client) -> Result<(), Failure> {
        for file in &self.0 {
            let path = file.path.display();
            let refuse = |why: &dyn std::fmt::Display| {
                Failure::said(format!("{path} cannot go along with the job: {why}"))
            };
            let mut opened = File::open(&file.path).await.map_err(|error| refuse(&error))?;
            let bar = Bar::new();
            let show = |done| {
                if let Some(bar) = &bar {
                    bar.show_bytes(done, file.bytes, &format!("bringing {path}"));
                }
            };
            client.bring(&file.sha256, &mut opened, show).await.map_err(|error| refuse(&error))?;
        }
        Ok(())
    }
}

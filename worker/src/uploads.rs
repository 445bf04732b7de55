//! Fetches the uploaded files of a job from the master.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use orchestra_client::Backoff;
use orchestra_contracts::{ContentHash, worker::ARTIFACT_PIECE};
use tokio::time::sleep;

use crate::{
    executor::uploads::UploadSource,
    master::{Link, Master},
};

/// The uploads that the master stores.
pub(crate) struct MasterUploads {
    pub(crate) master: Arc<dyn Master>,
    pub(crate) link: Arc<Link>,
}

#[async_trait]
impl UploadSource for MasterUploads {
    async fn piece(&self, sha256: &ContentHash, offset: u64) -> Result<(Bytes, u64), String> {
        let mut backoff = Backoff::default();
        loop {
            let answer = self.master.upload_piece(sha256, offset, ARTIFACT_PIECE as u64).await;
            self.link.note(&answer);
            match answer {
                Ok(piece) => return Ok(piece),
                Err(error) if error.is_temporary() => sleep(backoff.next()).await,
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

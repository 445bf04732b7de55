//! The files that come with a job, handed to its sandbox before the command begins: those that
//! stand in its spec at once, and those that were uploaded piece by piece as the master gives
//! them. However large one is, there is one piece of it in memory.

use std::pin::pin;

use orchestra_contracts::{ContentHash, JobFile, Outcome};
use orchestra_sandbox::protocol::{Command, File};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{
    prepare::{could_not_start, stop_before_start},
    session::Sandbox,
};
use crate::{
    control::Orders,
    executor::{RunSpec, uploads::UploadSource},
};

/// Those that stand in the spec.
pub(super) fn inline(files: &[JobFile]) -> impl Iterator<Item = Command> {
    let inline = files.iter().filter(|file| file.upload.is_none());
    // The master has refused one that has no content.
    inline.map(|file| frame(file, false, file.content().unwrap_or_default()))
}

fn frame(file: &JobFile, more: bool, bytes: Vec<u8>) -> Command {
    let path = file.path.clone().into_bytes();
    Command::File(File { path, executable: file.executable, more, bytes })
}

impl Sandbox {
    /// Hands over those that were uploaded, while the lease goes on; else how the attempt ends.
    /// A sandbox that does not listen any more has said why, or will be found to have gone.
    pub(super) async fn deliver(
        &mut self,
        spec: &RunSpec,
        orders: &mut watch::Receiver<Orders>,
    ) -> Result<(), Outcome> {
        // Also what was said before.
        orders.mark_changed();
        for file in &spec.spec.files {
            let Some(upload) = &file.upload else { continue };
            if !self.deliver_one(file, upload, &*spec.uploads, orders).await? {
                break;
            }
        }
        Ok(())
    }

    /// Whether the sandbox listened.
    async fn deliver_one(
        &mut self,
        file: &JobFile,
        upload: &ContentHash,
        uploads: &dyn UploadSource,
        orders: &mut watch::Receiver<Orders>,
    ) -> Result<bool, Outcome> {
        let (mut hash, mut offset) = (Sha256::new(), 0);
        loop {
            let fetched = self.while_it_lasts(uploads.piece(upload, offset), orders).await?;
            let (piece, whole) = fetched.map_err(|reason| {
                let path = &file.path;
                could_not_start(format!("the file {path} could not be fetched: {reason}"))
            })?;
            hash.update(&piece);
            offset += piece.len() as u64;
            let more = offset < whole;
            // Before the last piece: none of it comes into its place.
            if (more && piece.is_empty())
                || (!more && hex::encode(hash.clone().finalize()) != upload.as_str())
            {
                let path = &file.path;
                return Err(could_not_start(format!("the file {path} arrived garbled")));
            }
            let heard = self.say(&frame(file, more, piece.into())).await;
            if !heard || !more {
                return Ok(heard);
            }
        }
    }

    /// Renews the lease meanwhile, and obeys.
    async fn while_it_lasts<T>(
        &mut self,
        work: impl Future<Output = T>,
        orders: &mut watch::Receiver<Orders>,
    ) -> Result<T, Outcome> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                changed = orders.changed() => {
                    let now = *orders.borrow_and_update();
                    if now.stop.is_some() || changed.is_err() {
                        return Err(stop_before_start(orders));
                    }
                    self.renew(now.until).await;
                }
                done = &mut work => return Ok(done),
            }
        }
    }
}

//! Sends a job's files to its sandbox before the command begins. Files with their content in the
//! spec go at once; uploaded files go piece by piece as the master sends them. Only one piece is in
//! memory, however large the file is.

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

/// Commands for the files whose content is in the spec.
pub(super) fn inline(files: &[JobFile]) -> impl Iterator<Item = Command> {
    let inline = files.iter().filter(|file| file.upload.is_none());
    // The master refuses a file without content.
    inline.map(|file| frame(file, false, file.content().unwrap_or_default()))
}

fn frame(file: &JobFile, more: bool, bytes: Vec<u8>) -> Command {
    let path = file.path.clone().into_bytes();
    Command::File(File { path, executable: file.executable, more, bytes })
}

impl Sandbox {
    /// Sends the uploaded files and keeps the lease renewed meanwhile. The error is the outcome of
    /// the attempt. A sandbox that no longer listens is no error here: it has said why, or it will
    /// be found gone.
    pub(super) async fn deliver(
        &mut self,
        spec: &RunSpec,
        orders: &mut watch::Receiver<Orders>,
    ) -> Result<(), Outcome> {
        // Makes the loop below see the current orders, too.
        orders.mark_changed();
        for file in &spec.spec.files {
            let Some(upload) = &file.upload else { continue };
            if !self.deliver_one(file, upload, &*spec.uploads, orders).await? {
                break;
            }
        }
        Ok(())
    }

    /// Sends one file. Answers whether the sandbox listened.
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
            // Checked before the last piece, so that a bad file never reaches its destination.
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

    /// Waits for `work`, renews the lease meanwhile, and stops when ordered to.
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

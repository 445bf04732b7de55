//! Uploads.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use orchestra_contracts::ContentHash;

use super::tables::Tables;
use crate::store::{UPLOADS_KEPT, UploadPiece, UploadStored, artifact::Running, upload::wanted};

pub(super) type Uploads = BTreeMap<ContentHash, File>;

#[derive(Debug)]
pub(super) struct File {
    content: Vec<u8>,
    hash: Running,
    complete: bool,
    touched_at: Timestamp,
}

impl Tables {
    pub(super) fn append_upload(&mut self, piece: &UploadPiece) -> UploadStored {
        let begins = piece.offset == 0;
        if self.uploads.get(&piece.sha256).is_some_and(|file| begins && !file.complete) {
            self.uploads.remove(&piece.sha256);
        }
        let stored = self.uploads.get(&piece.sha256).map_or(0, |file| file.content.len() as u64);
        if let Some(file) = self.uploads.get_mut(&piece.sha256).filter(|file| file.complete) {
            file.touched_at = file.touched_at.max(piece.now);
            return piece.stored(stored, true);
        }
        let new = match piece.place(stored) {
            Ok(new) => new,
            Err(answer) => {
                if answer == UploadStored::OverLimit {
                    self.uploads.remove(&piece.sha256);
                }
                return answer;
            }
        };
        let file = self.uploads.entry(piece.sha256.clone()).or_insert_with(|| File {
            content: Vec::new(),
            hash: Running::default(),
            complete: false,
            touched_at: piece.now,
        });
        file.content.extend_from_slice(&new);
        file.hash.add(&new);
        file.complete = file.hash.clone().end() == piece.sha256.as_str();
        file.touched_at = piece.now;
        piece.stored(file.content.len() as u64, file.complete)
    }

    pub(super) fn forget_uploads(&mut self, now: Timestamp) -> usize {
        let had: BTreeSet<&ContentHash> =
            self.jobs.values().flat_map(|entry| wanted(&entry.job.spec)).collect();
        let before = self.uploads.len();
        self.uploads
            .retain(|hash, file| had.contains(hash) || file.touched_at + UPLOADS_KEPT.0 > now);
        before - self.uploads.len()
    }

    pub(super) fn upload(&self, sha256: &ContentHash) -> Option<&[u8]> {
        let file = self.uploads.get(sha256).filter(|file| file.complete)?;
        Some(&file.content)
    }

    pub(super) fn upload_bytes(&self, sha256: &ContentHash, offset: u64) -> Option<Bytes> {
        let rest = self.upload(sha256)?.get(usize::try_from(offset).ok()?..)?;
        (!rest.is_empty()).then(|| Bytes::copy_from_slice(rest))
    }
}

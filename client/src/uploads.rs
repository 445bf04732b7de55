//! Input files: uploaded before the jobs that need them, and downloaded by workers.

use std::io::{self, SeekFrom};

use bytes::{Bytes, BytesMut};
use orchestra_contracts::{
    ContentHash, ProblemKind, Upload, paths,
    worker::{ARTIFACT_PIECE, ArtifactHead},
};
use reqwest::{
    Method, Response,
    header::{CONTENT_RANGE, CONTENT_TYPE, RANGE},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncSeek, AsyncSeekExt as _},
    time::Instant,
};

use crate::{
    Client, ClientError,
    retry::{Backoff, PATIENCE, retry},
};

/// Why a file was not uploaded.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Its SHA-256 differs from the announced one.
    #[error("it changed while it was read")]
    Changed,
}

impl Client {
    /// Uploads a piece of a file, or all of it; returns how much is stored now. Safe to repeat.
    pub async fn put_upload(
        &self,
        sha256: &ContentHash,
        offset: u64,
        piece: Bytes,
    ) -> Result<Upload, ClientError> {
        let request = self
            .call(Method::PUT, &paths::upload(sha256))
            .query(&[("offset", offset)])
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(piece);
        self.fetch(request).await
    }

    /// Uploads a file piece by piece, and resumes after breaks of up to a minute; calls `told` with
    /// the number of bytes stored. If the master already has the file, at most one piece is sent.
    pub async fn bring(
        &self,
        sha256: &ContentHash,
        file: &mut (impl AsyncRead + AsyncSeek + Unpin + Send),
        mut told: impl FnMut(u64),
    ) -> Result<Upload, BringError> {
        let mut offset = 0;
        loop {
            file.seek(SeekFrom::Start(offset)).await?;
            let mut piece = BytesMut::with_capacity(ARTIFACT_PIECE);
            while piece.len() < ARTIFACT_PIECE
                && (&mut *file)
                    .take((ARTIFACT_PIECE - piece.len()) as u64)
                    .read_buf(&mut piece)
                    .await?
                    > 0
            {}
            let piece = piece.freeze();
            let deadline = Instant::now() + PATIENCE;
            let put = || self.put_upload(sha256, offset, piece.clone());
            offset = match retry(Backoff::default(), deadline, put).await {
                Ok(upload) if upload.complete => return Ok(upload),
                Ok(upload) if upload.bytes > offset => upload.bytes,
                // All of it is stored, but its content differs from what was announced.
                Ok(_) => return Err(BringError::Changed),
                Err(ClientError::Refused(problem))
                    if problem.kind == ProblemKind::ArtifactOffset && offset > 0 =>
                {
                    let ArtifactHead { offset } = problem.artifact.unwrap_or_default();
                    offset
                }
                Err(error) => return Err(error.into()),
            };
            told(offset);
        }
    }

    /// Returns at most `length` bytes of an upload from `offset`, and its total length.
    pub async fn upload_piece(
        &self,
        sha256: &ContentHash,
        offset: u64,
        length: u64,
    ) -> Result<(Bytes, u64), ClientError> {
        let last = offset.saturating_add(length).saturating_sub(1);
        let request = self
            .call(Method::GET, &paths::upload(sha256))
            .header(RANGE, format!("bytes={offset}-{last}"));
        let response = self.send(request).await?;
        let whole = whole_length(&response);
        let status = response.status().as_u16();
        let piece = self.body(response).await?;
        // Without a range, this is the whole file.
        let whole = whole.or((offset == 0).then_some(piece.len() as u64));
        let whole = whole.ok_or_else(|| {
            let reason = "the part that it sent does not say where it belongs".to_owned();
            ClientError::unreadable(self.url(), status, reason)
        })?;
        Ok((piece, whole))
    }
}

/// The number after the slash in `Content-Range: bytes 0-9/100` (RFC 9110, section 14.4).
fn whole_length(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.rsplit_once('/')?.1.parse().ok()
}

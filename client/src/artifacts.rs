//! A job's artifacts: list, download and verify.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use orchestra_contracts::{
    AttemptNo, JobId,
    files::{Artifact, Artifacts, AttemptChanges},
    paths,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::{Client, ClientError};

/// The timeout for downloading one file, or all of them.
const LONG_READ: Duration = Duration::from_mins(30);

/// Everything but unreserved characters (RFC 3986, section 2.3) and slashes.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Why a file was not completely downloaded.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{path:?} did not arrive as it was left: fetch it again")]
    Garbled { path: String },
    #[error("{path:?} cannot be written: {reason}")]
    Write { path: String, reason: io::Error },
}

impl Client {
    /// The artifacts of an attempt; of the last one that has ended if `attempt` is `None`.
    pub async fn artifacts(
        &self,
        id: JobId,
        attempt: Option<AttemptNo>,
    ) -> Result<Artifacts, ClientError> {
        self.fetch(of(self.call(Method::GET, &paths::artifacts(id)), attempt)).await
    }

    /// All artifacts as one tar archive. Only the end of the archive shows whether it is complete.
    pub async fn artifacts_tar(
        &self,
        id: JobId,
        attempt: Option<AttemptNo>,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>, ClientError> {
        let request = self.open(Method::GET, &paths::artifacts(id)).query(&[("format", "tar")]);
        self.stream(of(request, attempt)).await
    }

    /// Writes one listed artifact to `to`. The written data is only valid if this succeeds: the
    /// length and checksum are verified at the end.
    pub async fn fetch_artifact(
        &self,
        id: JobId,
        attempt: AttemptNo,
        file: &Artifact,
        to: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<(), FetchError> {
        let path = utf8_percent_encode(&file.path, ENCODED).to_string();
        let request = self.open(Method::GET, &paths::artifact(id, &path));
        let mut content = std::pin::pin!(self.stream(of(request, Some(attempt))).await?);
        let refuse = |reason| FetchError::Write { path: file.path.clone(), reason };
        let mut hash = Sha256::new();
        while let Some(piece) = content.try_next().await? {
            hash.update(&piece);
            to.write_all(&piece).await.map_err(refuse)?;
        }
        to.flush().await.map_err(refuse)?;
        if hex::encode(hash.finalize()) != file.sha256 {
            return Err(FetchError::Garbled { path: file.path.clone() });
        }
        Ok(())
    }

    /// The changes to files by an attempt's command; by the last one that has ended if `attempt` is
    /// `None`.
    pub async fn changes(
        &self,
        id: JobId,
        attempt: Option<AttemptNo>,
    ) -> Result<AttemptChanges, ClientError> {
        self.fetch(of(self.call(Method::GET, &paths::changes(id)), attempt)).await
    }

    async fn stream(
        &self,
        request: RequestBuilder,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>, ClientError> {
        let response = self.send_open(request.timeout(LONG_READ)).await?;
        let url = self.url().to_owned();
        Ok(response.bytes_stream().map_err(move |error| ClientError::transport(&url, &error)))
    }
}

fn of(request: RequestBuilder, attempt: Option<AttemptNo>) -> RequestBuilder {
    match attempt {
        Some(attempt) => request.query(&[("attempt", attempt)]),
        None => request,
    }
}

//! Sends spans to the collector from the program's own runtime, and logs once if the collector does
//! not answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use reqwest::redirect;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::runtime::Handle;

use super::export::said;

/// The timeout for connection and answer, unless the environment sets another.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes. It only says how many spans were accepted.
const ANSWER: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Carrier {
    http: reqwest::Client,
    runtime: Handle,
    down: AtomicBool,
}

impl Carrier {
    pub(super) fn new(runtime: Handle) -> Result<Self, Box<dyn std::error::Error>> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls()?)
            .timeout(timeout())
            .redirect(redirect::Policy::none())
            .build()?;
        Ok(Self { http, runtime, down: AtomicBool::new(false) })
    }

    fn note(&self, failure: Option<&str>) {
        match failure {
            Some(reason) if !self.down.swap(true, Ordering::Relaxed) => {
                tracing::warn!(
                    "the collector takes no spans, which are dropped meanwhile: {reason}"
                );
            }
            None if self.down.swap(false, Ordering::Relaxed) => {
                tracing::info!("the collector takes spans again");
            }
            _ => (),
        }
    }
}

#[async_trait]
impl HttpClient for Carrier {
    /// Called on a thread of the SDK, which has no runtime.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        // This waits for the task, which ends with the runtime at the latest.
        let answer = self.runtime.spawn(carry(self.http.clone(), request)).await;
        let answer = answer.map_err(HttpError::from).and_then(|answer| answer);
        match &answer {
            Err(error) => self.note(Some(&error.to_string())),
            Ok(answer) if !answer.status().is_success() => {
                self.note(Some(&format!("it answers {}", answer.status())));
            }
            Ok(_) => self.note(None),
        }
        answer
    }
}

async fn carry(
    http: reqwest::Client,
    request: reqwest::Request,
) -> Result<Response<Bytes>, HttpError> {
    let mut answer = http.execute(request).await?;
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > ANSWER {
            return Err(format!("its answer has more than {ANSWER} bytes").into());
        }
        body.extend_from_slice(&piece);
    }
    let mut response = Response::new(body.freeze());
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}

fn timeout() -> Duration {
    let said =
        said("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT").or_else(|| said("OTEL_EXPORTER_OTLP_TIMEOUT"));
    said.and_then(|millis| millis.parse().ok()).map_or(TIMEOUT, Duration::from_millis)
}

/// Trusts the authority that the environment names, or else those of the system.
fn tls() -> Result<ClientConfig, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    let file = said("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")
        .or_else(|| said("OTEL_EXPORTER_OTLP_CERTIFICATE"));
    match file {
        Some(file) => {
            for certificate in CertificateDer::pem_file_iter(&file)? {
                roots.add(certificate?)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    Ok(tls.with_root_certificates(roots).with_no_client_auth())
}

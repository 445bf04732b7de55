//! A registry with one image, and just enough of the distribution API for an engine to pull it.
//! Engines accept registries on 127.0.0.0/8 without TLS.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// How it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::executor::docker) enum Manner {
    Good,
    /// It answers only requests with this authorization (`Basic ...`).
    Asks(String),
    /// It never sends a layer.
    Hangs,
    /// It knows no image.
    Empty,
}

pub(in crate::executor::docker) struct Registry {
    pub(in crate::executor::docker) address: String,
    pub(in crate::executor::docker) digest: String,
    /// How often its layer was requested.
    pub(super) layers: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

struct Content {
    manner: Manner,
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
    layers: Arc<AtomicUsize>,
}

impl Registry {
    pub(super) async fn open(manner: Manner) -> Self {
        Self::serve(manner, &[]).await
    }

    /// Serves an image with nothing but this machine's `sh` and what `sh` needs.
    pub(in crate::executor::docker) async fn with_shell() -> Self {
        Self::serve(Manner::Good, &shell()).await
    }

    #[expect(clippy::disallowed_methods, reason = "it ends with its test")]
    async fn serve(manner: Manner, files: &[PathBuf]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(address.len() as u64);
        header.set_mode(0o644);
        // A different layer for each registry, so that no engine has it already.
        tar.append_data(&mut header, "where", address.as_bytes()).unwrap();
        for file in files {
            // Links are followed: their target takes their place.
            tar.append_path_with_name(file, file.strip_prefix("/").unwrap()).unwrap();
        }
        let layer = tar.into_inner().unwrap();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = serde_json::json!({
            "architecture": architecture, "os": "linux", "config": {"Env": ["FROM=registry"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let part = |kind: &str, bytes: &[u8]| {
            let media = format!("application/vnd.docker.{kind}");
            serde_json::json!({"mediaType": media, "size": bytes.len(), "digest": digest(bytes)})
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": part("container.image.v1+json", &config),
            "layers": [part("image.rootfs.diff.tar", &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let (digest, layers) = (digest(&manifest), Arc::new(AtomicUsize::new(0)));
        let content = Arc::new(Content { manner, manifest, config, layer, layers: layers.clone() });
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let content = content.clone();
                tokio::spawn(async move { content.answer(stream).await });
            }
        });
        Self { address, digest, layers, serving }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Content {
    /// Answers one request per connection.
    async fn answer(&self, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                // Engines try TLS first. When the connection is closed, they try again without.
                Ok(22) if head.is_empty() => return,
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, kind, body) = self.reply(&head, &path).await;
        let ask = if status == 401 { "WWW-Authenticate: Basic realm=\"here\"\r\n" } else { "" };
        let reply = format!(
            "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Docker-Content-Digest: {}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\
             {ask}Connection: close\r\n\r\n",
            body.len(),
            digest(&body),
        );
        // An engine that has seen enough closes the connection.
        let _ = stream.write_all(reply.as_bytes()).await;
        if !head.starts_with("HEAD") {
            let _ = stream.write_all(&body).await;
        }
        let _ = stream.shutdown().await;
    }

    async fn reply(&self, head: &str, path: &str) -> (u16, &'static str, Vec<u8>) {
        const BYTES: &str = "application/octet-stream";
        if let Manner::Asks(word) = &self.manner
            && !head
                .lines()
                .any(|line| line.eq_ignore_ascii_case(&format!("authorization: {word}")))
        {
            return (401, "application/json", b"{\"errors\":[]}".to_vec());
        }
        if path == "/v2/" {
            return (200, "application/json", b"{}".to_vec());
        }
        if path.contains("/manifests/") && self.manner != Manner::Empty {
            return (200, MANIFEST, self.manifest.clone());
        }
        if path.ends_with(&digest(&self.config)) {
            return (200, BYTES, self.config.clone());
        }
        if path.ends_with(&digest(&self.layer)) {
            self.layers.fetch_add(1, Ordering::Relaxed);
            if self.manner == Manner::Hangs {
                std::future::pending::<()>().await;
            }
            return (200, BYTES, self.layer.clone());
        }
        let error = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        (404, "application/json", error.to_vec())
    }
}

/// `sh`, its libraries and its loader, as ldd(1) lists them.
fn shell() -> Vec<PathBuf> {
    let ldd = std::process::Command::new("ldd").arg("/bin/sh").output().unwrap();
    let words = String::from_utf8(ldd.stdout).unwrap();
    let libraries = words.split_whitespace().filter(|word| word.starts_with('/'));
    std::iter::once("/bin/sh").chain(libraries).map(PathBuf::from).collect()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

//! TLS for the listener, with a certificate that may be renewed at any time.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

/// The interval at which the files are checked for changes.
const LOOK: Duration = Duration::from_secs(10);

/// A certificate and its key.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    looked: Instant,
    seen: [Option<Stamp>; 2],
}

/// Detects a changed file: inode, length, and change time (seconds, nanoseconds).
type Stamp = (u64, u64, i64, i64);

impl Tls {
    /// Loads the certificate and its key.
    ///
    /// # Errors
    /// With a sentence, when the files cannot be used.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, String> {
        let seen = [stamp(cert), stamp(key)];
        let current = Current { config: config(cert, key)?, looked: Instant::now(), seen };
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), current: Mutex::new(current) })
    }

    /// The acceptor for the next connection. Changed files are loaded again. If they cannot be
    /// used, the current certificate stays.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK {
            current.looked = Instant::now();
            self.renew(&mut current);
        }
        TlsAcceptor::from(current.config.clone())
    }

    fn renew(&self, current: &mut Current) {
        let seen = [stamp(&self.cert), stamp(&self.key)];
        if seen == current.seen {
            return;
        }
        match config(&self.cert, &self.key) {
            Ok(config) => {
                tracing::info!(file = %self.cert.display(), "the certificate was renewed");
                (current.config, current.seen) = (config, seen);
            }
            // Perhaps one of the two files is still being written.
            Err(reason) => tracing::warn!(reason, "the renewed certificate cannot be used"),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("cert", &self.cert).finish_non_exhaustive()
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec()))
}

fn config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let unusable = |file: &Path, reason: &dyn fmt::Display| format!("{}: {reason}", file.display());
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(cert, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map(Arc::new)
        .map_err(|error| unusable(cert, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        assert!(Tls::load(&cert, &key).unwrap_err().contains("cert.pem"));
        write(folder.path(), "one");
        let tls = Tls::load(&cert, &key).unwrap();
        let is_same = |config: &Arc<ServerConfig>| {
            let mut current = tls.current.lock().unwrap();
            tls.renew(&mut current);
            Arc::ptr_eq(&current.config, config)
        };
        let first = tls.current.lock().unwrap().config.clone();
        assert!(is_same(&first));
        fs::write(&cert, "half of one").unwrap();
        assert!(is_same(&first), "the old one stays");
        write(folder.path(), "two");
        assert!(!is_same(&first));
    }
}

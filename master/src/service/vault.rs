//! Secrets between submit and claim: sealed in the stored spec, shown to nobody.
//!
//! ```text
//! submit: seal -> store -> claim: open, for the worker that got the lease
//!                    \----> every other answer: hide
//! ```
//! A sealed value is bound to its name and to everything that runs with it. Write access to the
//! database alone is not enough to read it or to pass it to another command.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use orchestra_contracts::{JobSpec, Network, Secret, Workspace};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::store::Fingerprint;

/// The format of the sealed text.
const PREFIX: &str = "sealed:1:";
/// The length of `XChaCha20`'s nonce: long enough to be random, however many are drawn with one
/// key.
const NONCE: usize = 24;

/// Seals and opens secrets with this master's key.
pub struct Vault {
    cipher: XChaCha20Poly1305,
    /// The key of fingerprints: a hash without a key would reveal a short secret.
    mac: Hmac<Sha256>,
}

/// A value was sealed with another key, or the spec around it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CannotOpen;

impl CannotOpen {
    /// The reason in the job's outcome.
    pub(super) const REASON: &str = "its secrets cannot be opened: this master's secret key is \
        another than the one they were sealed with, or the job was changed in the database; \
        submit it again";
}

impl Vault {
    pub fn new(key: &[u8; 32]) -> Self {
        let any_length = "HMAC takes keys of any length";
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect(any_length);
        mac.update(b"orchestra: fingerprints of submissions");
        let own = mac.finalize().into_bytes();
        let mac = Hmac::new_from_slice(&own).expect(any_length);
        Self { cipher: XChaCha20Poly1305::new(key.into()), mac }
    }

    /// The fingerprint of the submitted specs, values of secrets included.
    pub(super) fn fingerprint<T: Serialize>(&self, specs: &T) -> Fingerprint {
        let mut mac = self.mac.clone();
        mac.update(&serde_json::to_vec(specs).expect("a spec is made of texts and numbers"));
        Fingerprint(mac.finalize().into_bytes().into())
    }

    /// Seals the secrets of a spec, before it is stored.
    pub(super) fn seal(&self, spec: &mut JobSpec) {
        let bound = bound_to(spec);
        for (name, secret) in &mut spec.secrets {
            let aad = [name.as_bytes(), b"\0", &bound].concat();
            *secret = Secret::new(self.sealed(secret, &aad));
        }
    }

    /// Seals a secret that is not a job's, for one purpose. The purpose has a blank in it, so that
    /// it is no name of a job's secret.
    pub(super) fn seal_text(&self, purpose: &str, secret: &Secret) -> String {
        self.sealed(secret, purpose.as_bytes())
    }

    /// Opens such a secret. `None` if it was sealed with another key or for another purpose.
    pub(super) fn open_text(&self, purpose: &str, sealed: &str) -> Option<Secret> {
        self.opened(sealed, purpose.as_bytes())
    }

    fn sealed(&self, secret: &Secret, aad: &[u8]) -> String {
        let mut sealed = [0; NONCE].to_vec();
        getrandom::fill(&mut sealed).expect("the system has random numbers");
        let nonce = nonce(&sealed).expect("it is as long as one");
        let message = Payload { msg: secret.expose().as_bytes(), aad };
        sealed.extend(self.cipher.encrypt(&nonce, message).expect("it is no longer than a body"));
        format!("{PREFIX}{}", STANDARD_NO_PAD.encode(sealed))
    }

    /// Opens the secrets of a spec, before the job is handed out.
    pub(super) fn open(&self, spec: &mut JobSpec) -> Result<(), CannotOpen> {
        let bound = bound_to(spec);
        for (name, secret) in &mut spec.secrets {
            let aad = [name.as_bytes(), b"\0", &bound].concat();
            *secret = self.opened(secret.expose(), &aad).ok_or(CannotOpen)?;
        }
        Ok(())
    }

    fn opened(&self, sealed: &str, aad: &[u8]) -> Option<Secret> {
        let sealed = STANDARD_NO_PAD.decode(sealed.strip_prefix(PREFIX)?).ok()?;
        let (nonce, msg) = (nonce(&sealed)?, sealed.get(NONCE..)?);
        let value = self.cipher.decrypt(&nonce, Payload { msg, aad }).ok()?;
        String::from_utf8(value).ok().map(Secret::new)
    }
}

/// Hides the secrets of a spec, before it is shown.
pub(super) fn hide(spec: &mut JobSpec) {
    spec.secrets.values_mut().for_each(|secret| *secret = Secret::hidden());
}

fn nonce(sealed: &[u8]) -> Option<XNonce> {
    sealed.first_chunk::<NONCE>().map(|nonce| XNonce::from(*nonce))
}

/// The part of the spec that decides where the values go: the command, and everything that could
/// turn it into another.
fn bound_to(spec: &JobSpec) -> [u8; 32] {
    let network = match spec.network {
        Network::None => "none",
        Network::Bridge => "bridge",
    };
    let workspace = match spec.workspace {
        Workspace::Shared => "shared",
        Workspace::Private => "private",
    };
    let env = spec.env.iter().flat_map(|(name, value)| [name.as_str(), value]);
    let all = [spec.command.as_str(), network, workspace]
        .into_iter()
        .chain([spec.image.as_deref(), spec.stdin.as_deref()].map(Option::unwrap_or_default))
        .chain(env);
    let mut hash = Sha256::new();
    for text in all {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "hunter2hunter2";

    fn spec() -> JobSpec {
        let mut spec = JobSpec::new("deploy");
        spec.secrets = ["A", "B"].map(|name| (name.to_owned(), Secret::new(VALUE))).into();
        spec
    }

    fn sealed() -> (Vault, JobSpec) {
        let (vault, mut spec) = (Vault::new(&[1; 32]), spec());
        vault.seal(&mut spec);
        (vault, spec)
    }

    #[test]
    fn what_was_sealed_is_opened() {
        let (vault, mut spec) = sealed();
        let stored = serde_json::to_string(&spec).unwrap();
        assert!(!stored.contains("hunter2"), "{stored}");
        assert_ne!(spec.secrets["A"], spec.secrets["B"], "each has its own nonce");
        spec = serde_json::from_str(&stored).unwrap();
        assert_eq!(vault.open(&mut spec), Ok(()));
        assert_eq!(spec, self::spec());
    }

    #[test]
    fn another_key_opens_nothing() {
        let (_, mut spec) = sealed();
        assert_eq!(Vault::new(&[2; 32]).open(&mut spec), Err(CannotOpen));
    }

    #[test]
    fn nor_does_another_command_or_name() {
        type Change = fn(&mut JobSpec);
        let changes: [Change; 10] = [
            |spec| spec.command = "env".into(),
            |spec| spec.image = Some("mine".into()),
            |spec| spec.stdin = Some("env".into()),
            |spec| spec.network = Network::Bridge,
            |spec| spec.workspace = Workspace::Private,
            |spec| spec.env = [("BASH_ENV".into(), "/work/mine".into())].into(),
            |spec| {
                let swapped = ["B", "A"].map(|name| spec.secrets[name].clone());
                spec.secrets = ["A".into(), "B".into()].into_iter().zip(swapped).collect();
            },
            |spec| spec.secrets = [("A".into(), Secret::new("hunter2hunter2"))].into(),
            |spec| spec.secrets = [("A".into(), Secret::new("sealed:1:AAAA"))].into(),
            |spec| spec.secrets = [("A".into(), Secret::hidden())].into(),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let (vault, mut spec) = sealed();
            change(&mut spec);
            assert_eq!(vault.open(&mut spec), Err(CannotOpen), "change {index}");
        }
    }

    #[test]
    fn a_fingerprint_is_of_everything_and_of_this_master() {
        let print = |spec: &JobSpec| Vault::new(&[1; 32]).fingerprint(spec).0;
        let mut changed = spec();
        changed.secrets.insert("A".into(), Secret::new("hunter3hunter3"));
        assert_eq!(print(&spec()), print(&spec()));
        assert_ne!(print(&spec()), print(&changed));
        assert_ne!(print(&spec()), Vault::new(&[2; 32]).fingerprint(&spec()).0);
    }

    #[test]
    fn a_text_is_opened_for_its_purpose_alone() {
        let vault = Vault::new(&[1; 32]);
        let sealed = vault.seal_text("webhook https://a.example", &Secret::new(VALUE));
        assert!(!sealed.contains(VALUE));
        let open = |vault: &Vault, purpose: &str| vault.open_text(purpose, &sealed);
        assert_eq!(open(&vault, "webhook https://a.example"), Some(Secret::new(VALUE)));
        assert_eq!(open(&vault, "webhook https://b.example"), None);
        assert_eq!(open(&Vault::new(&[2; 32]), "webhook https://a.example"), None);
    }

    #[test]
    fn what_is_hidden_shows_its_name_only() {
        let mut spec = spec();
        hide(&mut spec);
        assert_eq!(
            serde_json::to_value(&spec.secrets).unwrap(),
            serde_json::json!({"A": "***", "B": "***"})
        );
    }
}

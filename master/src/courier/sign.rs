//! Signs messages, so that a receiver can verify sender, time and content, as specified by
//! "Standard Webhooks" (1.0.0), for which most languages have libraries: HMAC-SHA-256 over
//! `id.timestamp.body`, in base64 after `v1,`, in the header `webhook-signature`.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use orchestra_contracts::Secret;
use sha2::Sha256;

/// The prefix of every secret, so that people and secret scanners recognize one.
const PREFIX: &str = "whsec_";
/// The key lengths in bytes that the specification allows.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const MADE: usize = 32;

/// The key that signs the messages of one webhook.
pub struct SigningKey(Vec<u8>);

/// The secret does not have the form that the specification asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not whsec_ and 24 to 64 bytes in base64; leave it out to have one made")]
pub struct WrongSecret;

impl SigningKey {
    /// Makes a random key.
    pub fn make() -> Self {
        let mut key = vec![0; MADE];
        getrandom::fill(&mut key).expect("the system has random numbers");
        Self(key)
    }

    /// Parses a secret.
    ///
    /// # Errors
    /// When it does not have the form that the specification asks for.
    pub fn read(secret: &Secret) -> Result<Self, WrongSecret> {
        let encoded = secret.expose().strip_prefix(PREFIX).ok_or(WrongSecret)?;
        let key = STANDARD.decode(encoded).map_err(|_| WrongSecret)?;
        if BYTES.contains(&key.len()) { Ok(Self(key)) } else { Err(WrongSecret) }
    }

    /// The key in the form that receivers get.
    pub fn secret(&self) -> Secret {
        Secret::new(format!("{PREFIX}{}", STANDARD.encode(&self.0)))
    }

    /// The value of the signature header.
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body.as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf '%s' 'msg_1.1700000000.{"type":"job.completed"}' | openssl dgst -sha256 -mac hmac \
    //   -macopt hexkey:000102030405060708090a0b0c0d0e0f1011121314151617 -binary | base64
    #[test]
    fn the_signature_is_that_of_openssl() {
        let secret = Secret::new("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
        let key = SigningKey::read(&secret).unwrap();
        let signature = key.sign("msg_1", 1_700_000_000, r#"{"type":"job.completed"}"#);
        assert_eq!(signature, "v1,+l/rrhGDECUbR3bS7siZotFQlUrfm29/3kaaZfgZOLo=");
        assert_eq!(key.secret(), secret);
    }

    /// The example of the specification's reference libraries.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let key = SigningKey::read(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let body = r#"{"test": 2432232314}"#;
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn made_secrets_are_read_back_and_never_alike() {
        let (one, other) = (SigningKey::make(), SigningKey::make());
        assert_ne!(one.secret(), other.secret());
        assert_eq!(SigningKey::read(&one.secret()).unwrap().secret(), one.secret());
    }

    #[test]
    fn what_is_too_short_or_no_base64_is_no_secret() {
        let of = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![1; bytes]));
        for wrong in ["", "hunter2", "whsec_", "whsec_!!", &of(23), &of(65), &of(32)[6..]] {
            assert!(SigningKey::read(&Secret::new(wrong)).is_err(), "{wrong}");
        }
        assert!(SigningKey::read(&Secret::new(of(24))).is_ok());
        assert!(SigningKey::read(&Secret::new(of(64))).is_ok());
    }
}

//! How a receiver knows that a message is ours, new and whole: the signature of the specification
//! "Standard Webhooks" (1.0.0), for which there are libraries in most languages. HMAC-SHA-256
//! over `id.timestamp.body`, in base64 behind `v1,`, in the header `webhook-signature`.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use orchestra_contracts::Secret;
use sha2::Sha256;

/// What every secret begins with, so that people and scanners know one when they see it.
const PREFIX: &str = "whsec_";
/// What the specification asks of the key behind it.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const MADE: usize = 32;

/// What the messages of one webhook are signed with.
pub struct SigningKey(Vec<u8>);

/// A secret is not what the specification asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not whsec_ and 24 to 64 bytes in base64; leave it out to have one made")]
pub struct WrongSecret;

impl SigningKey {
    /// A new one, at random.
    pub fn make() -> Self {
        let mut key = vec![0; MADE];
        getrandom::fill(&mut key).expect("the system has random numbers");
        Self(key)
    }

    /// # Errors
    /// When it is not of the form of the specification.
    pub fn read(secret: &Secret) -> Result<Self, WrongSecret> {
        let encoded = secret.expose().strip_prefix(PREFIX).ok_or(WrongSecret)?;
        let key = STANDARD.decode(encoded).map_err(|_| WrongSecret)?;
        if BYTES.contains(&key.len()) { Ok(Self(key)) } else { Err(WrongSecret) }
    }

    /// As receivers are given it.
    pub fn secret(&self) -> Secret {
        Secret::new(format!("{PREFIX}{}", STANDARD.encode(&self.0)))
    }

    /// The header's value.
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

    /// The example of the specification's own libraries.
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

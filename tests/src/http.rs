//! A client of HTTP for tests that look at answers themselves.

use reqwest::Client;

/// Without a proxy, whatever the environment says.
///
/// # Panics
/// Never: a plain client has all it needs.
pub(crate) fn client() -> Client {
    // The product's client brings TLS into the same build, which wants to know its
    // cryptography. Whether this is the first to say so makes no difference.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().expect("a plain client has all it needs")
}

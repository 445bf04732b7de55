//! A client of HTTP for tests that look at answers themselves.

use reqwest::{Client, ClientBuilder};

/// Without a proxy, whatever the environment says.
///
/// # Panics
/// Never: a plain client has all it needs.
pub(crate) fn client() -> Client {
    client_builder().build().expect("a plain client has all it needs")
}

/// The same, to be changed.
pub fn client_builder() -> ClientBuilder {
    // The product's client brings TLS into the same build, which wants to know its
    // cryptography. Whether this is the first to say so makes no difference.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy()
}

//! An HTTP client for tests that inspect raw answers.

use reqwest::{Client, ClientBuilder};

/// A client that ignores the proxy settings of the environment.
///
/// # Panics
/// Never: a plain client has all it needs.
pub(crate) fn client() -> Client {
    client_builder().build().expect("a plain client has all it needs")
}

/// The same as a builder, for tests that change more settings.
pub fn client_builder() -> ClientBuilder {
    // The product's client brings TLS into the same build, so a crypto provider must be
    // installed. It does not matter if another call has installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy()
}

//! TLS on the listener.

use std::time::Duration;

use axum::{Router, routing::get};
use orchestra_master::http::{self, Tls};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::harness::soon;

/// A listener with a certificate for `localhost`, and that certificate.
async fn serving(
    tasks: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> (std::net::SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = Tls::load(&cert, &key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(async || "hello"));
    tasks.spawn(http::serve_over(Some(tls), listener, router, usize::MAX, shutdown.clone()));
    (address, made.cert.pem())
}

#[tokio::test]
async fn who_trusts_the_certificate_is_answered() {
    let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
    let (address, certificate) = serving(&mut tasks, &shutdown).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("https://localhost:{}/", address.port());
    let certificate = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([certificate]);
    let reply = soon(client.build().unwrap().get(&url).send()).await.unwrap();
    assert_eq!(soon(reply.text()).await.unwrap(), "hello");
    let stranger = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let error = format!("{:?}", soon(stranger.get(&url).send()).await.unwrap_err());
    assert!(error.contains("UnknownIssuer"), "{error}");
    // Unencrypted requests are not answered.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    shutdown.cancel();
    soon(tasks.join_all()).await;
}

/// The paused clock jumps to the next timer when every task waits.
#[tokio::test(start_paused = true)]
async fn half_a_handshake_is_cut_off() {
    let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
    let (address, _) = serving(&mut tasks, &shutdown).await;
    let begun = Instant::now();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let _ = socket.read_to_end(&mut Vec::new()).await;
    assert!(begun.elapsed() <= Duration::from_secs(11), "{:?}", begun.elapsed());
    shutdown.cancel();
    tasks.join_all().await;
}

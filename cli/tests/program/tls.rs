//! The programs over TLS, with an authority of their own.

use std::{fs, path::Path};

use clap::Parser;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{orchestra, sentence, text};

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    master: orchestra_master::Config,
}

/// `ca.pem`, and `cert.pem` for 127.0.0.1 with its `key.pem`.
fn make_certificates(folder: &Path) {
    let authority = rcgen::KeyPair::generate().unwrap();
    let mut of_authority = rcgen::CertificateParams::default();
    of_authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let of_authority = rcgen::CertifiedIssuer::self_signed(of_authority, authority).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &of_authority).unwrap();
    fs::write(folder.join("ca.pem"), of_authority.pem()).unwrap();
    fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn a_master_is_believed_that_the_authority_vouches_for() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    make_certificates(folder.path());
    let (data, tokens, cert, key) =
        (path("data"), path("tokens"), path("cert.pem"), path("key.pem"));
    let words = [
        "master",
        "--listen",
        "127.0.0.1:0",
        "--data",
        &data,
        "--tokens",
        &tokens,
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ];
    let config = Settings::parse_from(words).master;
    let listener = orchestra_master::bind(&config).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, mut task) = (CancellationToken::new(), JoinSet::new());
    let stop = shutdown.clone();
    task.spawn(async move { orchestra_master::run(listener, config, stop).await.unwrap() });

    let (url, token, ca) =
        (format!("https://{address}"), path("tokens/client/token"), path("ca.pem"));
    while !Path::new(&token).exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let known = [
        ("ORCHESTRA_URL", url.as_str()),
        ("ORCHESTRA_TOKEN_FILE", &token),
        ("ORCHESTRA_CA_FILE", &ca),
    ];
    let submitted = orchestra(&["submit", "true"], &known).await;
    assert_eq!(text(&submitted.stdout), "1\n", "{submitted:?}");
    let stranger = orchestra(&["ls"], &known[..2]).await;
    assert!(sentence(&stranger).contains("ORCHESTRA_CA_FILE"), "{stranger:?}");
    let wrong = [known[0], known[1], ("ORCHESTRA_CA_FILE", "/no/such.pem")];
    let wrong = orchestra(&["ls"], &wrong).await;
    assert!(sentence(&wrong).contains("/no/such.pem"), "{wrong:?}");
    // A token is not sent in clear to another machine.
    let clear = [("ORCHESTRA_URL", "http://192.0.2.1:5216"), known[1]];
    let clear = orchestra(&["ls"], &clear).await;
    assert!(sentence(&clear).contains("ORCHESTRA_INSECURE"), "{clear:?}");
    shutdown.cancel();
    task.join_next().await.unwrap().unwrap();
}

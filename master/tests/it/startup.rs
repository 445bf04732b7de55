//! On which addresses a master starts, and which tokens it requires.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use orchestra_contracts::Token;
use orchestra_master::{Config, MasterError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    harness::soon,
    server::{client, config},
};

/// An address that other machines can reach.
const OUTSIDE: &str = "0.0.0.0:0";

/// Runs a master with these settings while `work` uses its address.
async fn running(address: &str, config: Config, work: impl AsyncFnOnce(String)) {
    let listener = TcpListener::bind(address).await.unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let shutdown = CancellationToken::new();
    let work = async {
        // It answers once it accepts connections, and by then its tokens exist.
        let healthy = client().get(format!("{url}/healthz")).send().await.unwrap();
        assert_eq!(healthy.status(), 200);
        work(url).await;
        shutdown.cancel();
    };
    let run = Box::pin(orchestra_master::run(listener, config, shutdown.clone()));
    let (ended, ()) = soon(async { tokio::join!(run, work) }).await;
    ended.unwrap();
}

async fn status(url: &str, token: Option<&str>) -> u16 {
    let mut request = client().get(format!("{url}/api/job"));
    if let Some(token) = token {
        request = request.bearer_auth(token.trim());
    }
    request.send().await.unwrap().status().as_u16()
}

fn token(folder: &Path, role: &str) -> String {
    fs::read_to_string(folder.join(role).join("token")).unwrap()
}

async fn refusal(address: &str, config: Config) -> MasterError {
    let listener = TcpListener::bind(address).await.unwrap();
    let run = orchestra_master::run(listener, config, CancellationToken::new());
    soon(Box::pin(run)).await.unwrap_err()
}

#[tokio::test]
async fn loopback_asks_nobody_for_a_token() {
    let folder = tempfile::tempdir().unwrap();
    running("127.0.0.1:0", config(&folder, &[]), async |url| {
        assert_eq!(status(&url, None).await, 200);
        assert_eq!(status(&url, Some("of another master")).await, 200);
    })
    .await;
}

#[tokio::test]
async fn any_other_address_is_refused_without_tokens() {
    let folder = tempfile::tempdir().unwrap();
    for address in [OUTSIDE, "[::]:0"] {
        let error = refusal(address, config(&folder, &[])).await;
        assert!(matches!(error, MasterError::NoTokens(_)), "{error}");
        let sentence = error.to_string();
        assert!(sentence.contains("--tokens") && sentence.lines().count() == 1, "{sentence}");
    }
}

#[tokio::test]
async fn tokens_are_made_once_and_are_wanted_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let with = ["--tokens", tokens.to_str().unwrap()];
    let made = async || ["client", "worker", "admin"].map(|role| token(&tokens, role));
    running(OUTSIDE, config(&folder, &with), async |url| {
        assert_eq!(status(&url, None).await, 401);
        for (role, expected) in [("client", 200), ("worker", 403), ("admin", 200)] {
            assert_eq!(status(&url, Some(&token(&tokens, role))).await, expected, "{role}");
        }
    })
    .await;
    let first = made().await;
    let file = fs::metadata(tokens.join("admin/token")).unwrap();
    assert_eq!(file.mode() & 0o777, 0o600);

    running(OUTSIDE, config(&folder, &with), async |url| {
        assert_eq!(status(&url, Some(&token(&tokens, "client"))).await, 200);
    })
    .await;
    assert_eq!(made().await, first, "a restart makes no new tokens");

    // Tokens in the database suffice.
    running(OUTSIDE, config(&folder, &[]), async |url| {
        assert_eq!(status(&url, None).await, 401);
        assert_eq!(status(&url, Some(&first[0])).await, 200);
    })
    .await;

    // On loopback a token folder means that tokens are required, for instance behind a proxy.
    running("127.0.0.1:0", config(&folder, &with), async |url| {
        assert_eq!(status(&url, None).await, 401);
    })
    .await;

    let database = fs::read(folder.path().join("data/orchestra.db")).unwrap();
    for token in &first {
        let secret = Token::new(token).as_str().strip_prefix(Token::PREFIX).unwrap().to_owned();
        let found = database.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "the database holds a token in clear");
    }
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_and_so_is_a_file_that_was_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let with = ["--tokens", tokens.to_str().unwrap()];
    let mut old = String::new();
    running(OUTSIDE, config(&folder, &with), async |url| {
        old = token(&tokens, "client");
        let revoke = client().delete(format!("{url}/api/token/1"));
        let revoke = revoke.bearer_auth(token(&tokens, "admin").trim());
        assert_eq!(revoke.send().await.unwrap().status(), 200);
        assert_eq!(status(&url, Some(&old)).await, 401);
    })
    .await;
    for round in ["revoked", "taken away"] {
        running(OUTSIDE, config(&folder, &with), async |url| {
            let new = token(&tokens, "client");
            assert_ne!(new, old, "{round}");
            assert_eq!(status(&url, Some(&old)).await, 401, "{round}");
            assert_eq!(status(&url, Some(&new)).await, 200, "{round}");
            old = new;
        })
        .await;
        fs::remove_file(tokens.join("client/token")).unwrap();
    }
}

#[tokio::test]
async fn everybody_is_let_in_only_when_the_operator_says_so() {
    let folder = tempfile::tempdir().unwrap();
    running(OUTSIDE, config(&folder, &["--allow-anyone"]), async |url| {
        assert_eq!(status(&url, None).await, 200);
        let rebound = client().get(format!("{url}/api/job")).header("host", "evil.example");
        assert_eq!(rebound.send().await.unwrap().status(), 421);
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_the_settings_is_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    fs::create_dir_all(tokens.join("client")).unwrap();
    fs::write(tokens.join("client/token"), "hunter2").unwrap();
    let with = ["--tokens", tokens.to_str().unwrap()];
    let sentence = refusal(OUTSIDE, config(&folder, &with)).await.to_string();
    assert!(sentence.contains("client/token") && !sentence.contains("hunter2"), "{sentence}");
    let error = refusal("127.0.0.1:0", config(&folder, &["--hosts", "good.example,a b"])).await;
    assert!(error.to_string().contains("\"a b\""), "{error}");
}

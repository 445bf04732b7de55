//! Files are downloaded by name, and only valid if they are complete.

use axum::{
    Router,
    extract::{Path, RawQuery},
    routing::get,
};
use orchestra_client::FetchError;
use orchestra_contracts::{AttemptNo, JobId, files::Artifact, paths};

use crate::server::serve;

fn artifact(path: &str) -> Artifact {
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    Artifact { path: path.to_owned(), bytes: 3, sha256: sha256.to_owned(), executable: false }
}

#[tokio::test]
async fn a_file_is_asked_for_by_its_name_whatever_is_in_it() {
    let answer = |Path((id, path)): Path<(i64, String)>, RawQuery(query): RawQuery| async move {
        let asked = (id, path.as_str(), query.as_deref());
        if asked == (7, "a b/\u{e4}%2f?#&+../x", Some("attempt=2")) { "abc" } else { "another" }
    };
    let server = serve(Router::new().route(paths::ARTIFACT, get(answer))).await;
    let fetch = async |path: &str| {
        let mut content = Vec::new();
        let file = artifact(path);
        let fetched = server.client.fetch_artifact(JobId(7), AttemptNo(2), &file, &mut content);
        fetched.await.map(|()| content)
    };
    assert_eq!(fetch("a b/\u{e4}%2f?#&+../x").await.unwrap(), b"abc");
    let garbled = fetch("a").await.unwrap_err();
    assert!(matches!(garbled, FetchError::Garbled { .. }), "{garbled}");
}

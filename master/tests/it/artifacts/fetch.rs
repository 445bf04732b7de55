//! Downloads of artifacts: one file, a part of one, or all as an archive.

use std::{collections::BTreeMap, io::Read as _};

use axum::body::Body;
use orchestra_contracts::worker::ARTIFACT_PIECE;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use super::OCTETS;
use crate::{
    faulty::{Fault, Plan},
    harness::{Master, request, soon},
};

#[tokio::test]
async fn a_part_of_a_file_can_be_asked_for() {
    let master = Master::start().await;
    let content: Vec<u8> = (0..=250).cycle().take(ARTIFACT_PIECE + 1000).collect();
    let id = master.left(&[("a", &content), ("empty", b"")]).await;
    let edge = ARTIFACT_PIECE - 5;
    for (range, first, end) in [
        ("bytes=0-3".to_owned(), 0, 4),
        (format!("bytes={edge}-{}", edge + 9), edge, edge + 10),
        ("bytes=-10".to_owned(), content.len() - 10, content.len()),
        (format!("bytes={ARTIFACT_PIECE}-"), ARTIFACT_PIECE, content.len()),
    ] {
        let reply = master.fetch(id, "a", &[("range", &range)]).await;
        assert_eq!(reply.status, 206, "{range}: {:?}", reply.headers);
        assert!(reply.body == content[first..end], "{range}");
        let told = format!("bytes {first}-{}/{}", end - 1, content.len());
        assert_eq!(reply.header("content-range"), told);
        assert_eq!(reply.header("content-length"), (end - first).to_string());
    }
    let beyond = master.fetch(id, "a", &[("range", "bytes=9999999-")]).await;
    assert_eq!((beyond.status.as_u16(), beyond.problem().as_str()), (416, "range-not-satisfiable"));
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", content.len()));
    assert_eq!(master.fetch(id, "empty", &[("range", "bytes=0-")]).await.status, 416);
    // With the ETag of another file, the whole of this one is sent.
    let tag = format!("\"{}\"", hex::encode(Sha256::digest(&content)));
    for (tag, status) in [(tag.as_str(), 206), ("\"other\"", 200)] {
        let headers = [("range", "bytes=0-3"), ("if-range", tag)];
        assert_eq!(master.fetch(id, "a", &headers).await.status, status, "{tag}");
    }
}

#[tokio::test]
async fn all_of_them_come_as_one_archive() {
    let master = Master::start().await;
    let long = "deep/".repeat(60) + "file";
    let large: Vec<u8> = (0..=250).cycle().take(ARTIFACT_PIECE + 77).collect();
    let files = [
        ("a", &b"x"[..]),
        (long.as_str(), b"long"),
        ("ä/empty", b""),
        ("block", &[7; 512]),
        ("large", &large),
    ];
    let id = master.left(&files).await;
    let reply = master.get(&format!("/api/job/{id}/artifacts?format=tar")).await;
    assert_eq!(reply.header("content-type"), "application/x-tar");
    let name = format!("attachment; filename=\"job-{id}-attempt-1.tar\"");
    assert!(reply.header("content-disposition").starts_with(&name));
    let mut archive = tar::Archive::new(&reply.body[..]);
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
        assert_eq!(entry.header().mode().unwrap(), 0o644);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.insert(path, content);
    }
    let due: BTreeMap<_, _> =
        files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
    assert!(found == due, "{:?}", found.keys());
}

#[tokio::test]
async fn whatever_it_is_called_a_browser_saves_it_and_runs_nothing() {
    let master = Master::start().await;
    let names = ["x.html", "a\"; filename=\"b.exe", "ü\u{202e}gpj.exe", "back\\slash", "%00%0a;x"];
    let files: Vec<_> = names.iter().map(|name| (*name, &b"<script>"[..])).collect();
    let id = master.left(&files).await;
    for name in names {
        let reply = master.fetch(id, name, &[]).await;
        assert_eq!(reply.status, 200, "{name:?}");
        assert_eq!(reply.header("content-type"), OCTETS);
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert!(reply.header("content-security-policy").contains("sandbox"));
        let disposition = reply.header("content-disposition");
        let (first, second) = disposition.split_once("\"; filename*=UTF-8''").unwrap();
        let fallback = first.strip_prefix("attachment; filename=\"").unwrap();
        assert!(!fallback.contains(['"', '\\', '%']), "{disposition}");
        let decoded = percent_decode_str(second).decode_utf8().unwrap();
        assert_eq!(decoded, name);
    }
}

#[tokio::test]
async fn a_file_is_cut_off_where_the_master_stops_or_the_database_fails() {
    let master = Master::start().await;
    let content = vec![7; 3 * ARTIFACT_PIECE];
    let id = master.left(&[("a", &content)]).await;
    let open = async || {
        let address = format!("/api/job/{id}/artifacts/a");
        master.open(request("GET", &address).body(Body::empty()).unwrap()).await.into_body()
    };
    let whole = soon(axum::body::to_bytes(open().await, usize::MAX)).await;
    assert_eq!(whole.unwrap().len(), content.len());
    let body = open().await;
    master.faults.plan(Plan::Once(master.faults.operations() + 2, Fault::Before));
    assert!(soon(axum::body::to_bytes(body, usize::MAX)).await.is_err());
    master.faults.plan(Plan::Nothing);
    let body = open().await;
    master.shutdown.cancel();
    assert!(soon(axum::body::to_bytes(body, usize::MAX)).await.is_err());
}

//! Raw bytes on a connection: what the HTTP library answers itself, and bytes that are not HTTP. An
//! unreadable head is answered with a bare status, since no request has begun; then the connection is
//! closed.

use std::net::SocketAddr;

use orchestra_master::http;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::nothing_changed;
use crate::harness::{Master, soon};

/// What is sent, and the expected statuses. There are none if the connection is closed without an
/// answer.
pub(super) struct Sent {
    what: &'static str,
    bytes: Vec<u8>,
    statuses: &'static [u16],
    /// Problem kind of the last answer; empty for a bare status.
    kind: &'static str,
}

fn sent(
    what: &'static str,
    bytes: impl Into<Vec<u8>>,
    statuses: &'static [u16],
    kind: &'static str,
) -> Sent {
    Sent { what, bytes: bytes.into(), statuses, kind }
}

const POST: &str =
    "POST /api/job HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

/// A request for the list of jobs with this additional header line, the last of its connection.
fn list(more: &str) -> String {
    format!("GET /api/job HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n\r\n")
}

pub(super) fn rows() -> Vec<Sent> {
    let many = "X: y\r\n".repeat(200);
    let spec = r#"{"command": "true"}"#;
    vec![
        sent("nothing", "", &[], ""),
        sent("no HTTP", "nonsense\r\n\r\n", &[400], ""),
        sent("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[400], ""),
        sent("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[], ""),
        sent("HTTP/0.9", "GET /api/job\r\n\r\n", &[400], ""),
        sent("HTTP/1.2", "GET /api/job HTTP/1.2\r\nHost: localhost\r\n\r\n", &[400], ""),
        sent("SSH", "SSH-2.0-OpenSSH_9.2\r\n\r\n", &[400], ""),
        sent("no method", " /api/job HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400], ""),
        sent("a method that is none", "G(T /api/job HTTP/1.1\r\nHost: x\r\n\r\n", &[400], ""),
        sent("NUL in the address", "GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400], ""),
        sent(
            "a byte that is no text",
            b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
            &[400],
            "",
        ),
        sent(
            "no header host",
            "GET /api/job HTTP/1.1\r\nConnection: close\r\n\r\n",
            &[400],
            "bad-parameter",
        ),
        sent("two", list("Host: localhost"), &[400], "bad-parameter"),
        sent("a header's name with a space", list("X y: z"), &[400], ""),
        sent("a space before the colon", list("X : z"), &[400], ""),
        sent("a header without a name", list(": z"), &[400], ""),
        sent("a header without a colon", list("nonsense"), &[400], ""),
        sent("obs-fold", list("X: a\r\n b"), &[400], ""),
        sent("NUL in a header", list("X: a\0b"), &[400], ""),
        sent("a bare CR in a header", list("X: a\rb"), &[400], ""),
        sent("200 headers", list(&many), &[431], ""),
        sent("a header of 1 MiB", list(&format!("X: {}", "y".repeat(1 << 20))), &[431], ""),
        sent(
            "an address of 10 KiB",
            format!(
                "GET /{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                "x".repeat(10 << 10)
            ),
            &[414],
            "uri-too-long",
        ),
        sent(
            "an address of 70 KiB",
            format!(
                "GET /{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                "x".repeat(70 << 10)
            ),
            &[414],
            "",
        ),
        sent("a negative length", format!("{POST}Content-Length: -5\r\n\r\n{spec}"), &[400], ""),
        sent(
            "a length that is none",
            format!("{POST}Content-Length: 1x\r\n\r\n{spec}"),
            &[400],
            "",
        ),
        sent(
            "a length with a sign",
            format!("{POST}Content-Length: +19\r\n\r\n{spec}"),
            &[400],
            "",
        ),
        sent(
            "two lengths",
            format!("{POST}Content-Length: 19\r\nContent-Length: 18\r\n\r\n{spec}"),
            &[400],
            "",
        ),
        sent(
            "a list of lengths",
            format!("{POST}Content-Length: 19, 18\r\n\r\n{spec}"),
            &[400],
            "",
        ),
        sent(
            "a length too many",
            format!("{POST}Content-Length: 99999999999999999999\r\n\r\n"),
            &[400],
            "",
        ),
        sent(
            "a length and pieces",
            format!(
                "{POST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}",
                list("X: y")
            ),
            &[400],
            "unreadable",
        ),
        sent(
            "pieces that are not last",
            format!("{POST}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
            &[400],
            "",
        ),
        sent(
            "an encoding that is none",
            format!("{POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
            &[400],
            "",
        ),
        sent(
            "pieces over HTTP/1.0",
            "POST /api/job HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
            "",
        ),
        sent(
            "a piece without a length",
            format!("{POST}Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n"),
            &[400],
            "unreadable",
        ),
        sent(
            "a piece of 2^64 bytes",
            format!("{POST}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"),
            &[400],
            "unreadable",
        ),
        sent(
            "a huge body that is waited for",
            format!("{POST}Content-Length: 104857600\r\nExpect: 100-continue\r\n\r\n"),
            &[413],
            "too-large",
        ),
        sent(
            "OPTIONS *",
            "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            &[404],
            "not-found",
        ),
        sent(
            "CONNECT",
            "CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\nConnection: close\r\n\r\n",
            &[421],
            "wrong-host",
        ),
        sent(
            "a proxy's request",
            "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            &[421],
            "wrong-host",
        ),
        sent(
            "an upgrade",
            "GET /nope HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nUpgrade: h2c\r\n\r\n",
            &[404],
            "not-found",
        ),
        sent(
            "garbage after a request",
            format!("{}nonsense\r\n\r\n", list("X: y").replace("close", "keep-alive")),
            &[200, 400],
            "",
        ),
    ]
}

/// Sends the bytes and reads the answers. With `is_all`, shuts down the sending side.
async fn answer(address: SocketAddr, bytes: &[u8], is_all: bool) -> String {
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let mut answer = Vec::new();
    let write = async {
        // The master may close the connection before it has read everything.
        let _ = writer.write_all(bytes).await;
        if is_all {
            let _ = writer.shutdown().await;
        }
    };
    let read = async {
        let _ = reader.read_to_end(&mut answer).await;
    };
    soon(async { tokio::join!(write, read) }).await;
    String::from_utf8(answer).expect("answers are text")
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_harms_nobody() {
    let master = Master::start().await;
    master.submit(serde_json::json!({"command": "true"})).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(http::serve(listener, master.router(), shutdown.clone()));
    let mut wrong = Vec::new();
    for Sent { what, bytes, statuses, kind } in rows() {
        let answer = answer(address, &bytes, statuses.is_empty()).await;
        let heads: Vec<_> = answer.split("HTTP/1.1 ").skip(1).collect();
        let is: Vec<u16> = heads.iter().map(|head| head[..3].parse().unwrap()).collect();
        let problem = format!("\"type\":\"urn:orchestra:problem:{kind}\"");
        let last = heads.last().copied().unwrap_or_default();
        let told =
            if kind.is_empty() { !last.contains("\"type\"") } else { last.contains(&problem) };
        if is != statuses || !told {
            wrong.push(format!("{what}: {is:?} {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n--\n"));
    nothing_changed(&master).await;
    shutdown.cancel();
    soon(serving.join_all()).await;
}

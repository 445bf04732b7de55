//! One persistent connection to a master. It does the minimum that HTTP requires, because the cost
//! of a load generator takes resources from the server under load.

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use orchestra_contracts::worker::LEASE_HEADER;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::error::BenchError;

/// Size limit of an answer, so that a defect cannot exhaust the machine's memory.
const LONGEST: usize = 64 << 20;

/// The master closes a connection after ten idle seconds. Replacing it earlier avoids using it just
/// as it is closed.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Link {
    port: u16,
    stream: TcpStream,
    buffer: BytesMut,
    used: Instant,
}

/// The status and body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body, if the answer has this status.
    pub(crate) fn expect(self, status: u16) -> Result<Vec<u8>, BenchError> {
        if self.status == status {
            return Ok(self.body);
        }
        let text = String::from_utf8_lossy(&self.body).into_owned();
        Err(BenchError::unexpected(format!("answered with {}: {text}", self.status)))
    }
}

impl Link {
    pub(crate) async fn open(port: u16) -> Result<Self, BenchError> {
        let stream =
            TcpStream::connect(("127.0.0.1", port)).await.map_err(BenchError::io("connecting"))?;
        stream.set_nodelay(true).map_err(BenchError::io("connecting"))?;
        let buffer = BytesMut::with_capacity(16 << 10);
        Ok(Self { port, stream, buffer, used: Instant::now() })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, BenchError> {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await
    }

    pub(crate) async fn post(&mut self, path: &str, json: &str) -> Result<Answer, BenchError> {
        self.bring("POST", path, json).await
    }

    pub(crate) async fn put(&mut self, path: &str, json: &str) -> Result<Answer, BenchError> {
        self.bring("PUT", path, json).await
    }

    async fn bring(&mut self, method: &str, path: &str, json: &str) -> Result<Answer, BenchError> {
        let length = json.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{json}"
        );
        self.ask(request.as_bytes()).await
    }

    /// Uploads bytes under a lease.
    pub(crate) async fn upload(
        &mut self,
        path: &str,
        lease: &str,
        bytes: &[u8],
    ) -> Result<Answer, BenchError> {
        let length = bytes.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/octet-stream\r\n\
             {LEASE_HEADER}: {lease}\r\ncontent-length: {length}\r\n\r\n"
        );
        self.ask(&[head.as_bytes(), bytes].concat()).await
    }

    async fn ask(&mut self, request: &[u8]) -> Result<Answer, BenchError> {
        if self.used.elapsed() > IDLE {
            *self = Self::open(self.port).await?;
        }
        self.stream.write_all(request).await.map_err(BenchError::io("sending"))?;
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break self.buffer.split_to(end + 4);
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| BenchError::unexpected("this is no HTTP"))?;
        let header = |name: &str| {
            head.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        let body = if header("transfer-encoding:").as_deref() == Some("chunked") {
            self.chunks().await?
        } else {
            let length = header("content-length:").and_then(|length| length.parse().ok());
            self.exactly(length.unwrap_or(0)).await?
        };
        self.used = Instant::now();
        Ok(Answer { status, body })
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, BenchError> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(end) = find(&self.buffer, b"\r\n") {
                    break self.buffer.split_to(end + 2);
                }
                self.more().await?;
            };
            let length = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16)
                .map_err(|_| BenchError::unexpected("this is no chunk"))?;
            let mut chunk = self.exactly(length + 2).await?;
            chunk.truncate(length);
            if length == 0 {
                return Ok(body);
            }
            body.append(&mut chunk);
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, BenchError> {
        if length > LONGEST {
            return Err(BenchError::unexpected("the answer is too long"));
        }
        while self.buffer.len() < length {
            self.more().await?;
        }
        let body = self.buffer[..length].to_vec();
        self.buffer.advance(length);
        Ok(body)
    }

    async fn more(&mut self) -> Result<(), BenchError> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(BenchError::unexpected("the connection was closed")),
            Ok(_) => Ok(()),
            Err(error) => Err(BenchError::io("reading")(error)),
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

//! beanstalkd: put, reserve and delete, by its own protocol.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

use super::{free_port, program};
use crate::{error::BenchError, program::Process, rows::CLIENTS};

const START: Duration = Duration::from_secs(10);

pub(super) async fn block(folder: &Path, time: Duration, sync: bool) -> Result<f64, BenchError> {
    let Some(path) = program("beanstalkd", &["/usr/sbin"]) else {
        return Err(BenchError::Missing { what: "beanstalkd", how: "apt-get install beanstalkd" });
    };
    let port = free_port()?;
    let mut command = Command::new(path);
    command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-b"]).arg(folder);
    if sync {
        command.args(["-f", "0"]);
    }
    let _server = Process::start(command, &folder.join("beanstalkd.log"))?;
    let limit = Instant::now() + START;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() && Instant::now() < limit {
        sleep(Duration::from_millis(10)).await;
    }
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(port, start + time));
    }
    let mut jobs = 0;
    while let Some(client) = clients.join_next().await {
        let client = client.map_err(|error| BenchError::unexpected(error.to_string()))?;
        jobs += client.map_err(BenchError::io("beanstalkd"))?;
    }
    Ok(f64::from(jobs) / start.elapsed().as_secs_f64())
}

async fn client(port: u16, until: Instant) -> std::io::Result<u32> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufStream::new(stream);
    let mut jobs = 0;
    while Instant::now() < until {
        ask(&mut stream, "put 0 0 60 4\r\ntrue\r\n", "INSERTED ").await?;
        let reserved = ask(&mut stream, "reserve\r\n", "RESERVED ").await?;
        let mut body = [0; "true\r\n".len()];
        stream.read_exact(&mut body).await?;
        let id = reserved.split(' ').next().unwrap_or_default();
        ask(&mut stream, &format!("delete {id}\r\n"), "DELETED").await?;
        jobs += 1;
    }
    Ok(jobs)
}

/// Sends a request, and returns the rest of the answer after the expected word.
async fn ask(
    stream: &mut BufStream<TcpStream>,
    request: &str,
    word: &str,
) -> std::io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let rest = line.strip_prefix(word).map(|rest| rest.trim().to_owned());
    rest.ok_or_else(|| std::io::Error::other(format!("answered with {line:?}")))
}

//! Kills a program at a named step. A relay stands between the program and something that it
//! calls, sees each request and its answer, and kills the program at the step that the test
//! has armed. The program under test needs no hooks for this.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinSet,
};

/// A step, recognised by the traffic on one connection. The parts must match in this order,
/// before the connection's next request.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Part of the request line, like `/containers/create`.
    pub request: &'static str,
    /// What the program sends with the request, or after it on a stream.
    pub says: Option<&'static str>,
    /// What it receives in answer; `Some("")` matches anything.
    pub hears: Option<&'static str>,
    /// Whether the last matching bytes are still forwarded before the program is killed.
    pub passes: bool,
}

/// A relay before one address. Dropping it closes its connections.
#[derive(Debug)]
pub struct Breakpoint {
    armed: Armed,
    _serving: JoinSet<()>,
}

#[derive(Clone, Debug, Default)]
struct Armed(Arc<Mutex<Option<(Step, Pid)>>>);

impl Breakpoint {
    /// Relays to a TCP port of this machine. Also returns the address the relay listens on.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn before_port(target: SocketAddr) -> (Self, SocketAddr) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (armed, mut serving) = (Armed::default(), JoinSet::new());
        let watching = armed.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(target).await else { continue };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                connections.spawn(relay(near, far, watching.clone()));
            }
        });
        (Self { armed, _serving: serving }, address)
    }

    /// Relays to a Unix socket of this machine; the relay listens on `socket`.
    ///
    /// # Panics
    /// When the socket cannot be made.
    pub fn before_socket(target: PathBuf, socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket can be made there");
        let (armed, mut serving) = (Armed::default(), JoinSet::new());
        let watching = armed.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = UnixStream::connect(&target).await else { continue };
                connections.spawn(relay(near, far, watching.clone()));
            }
        });
        Self { armed, _serving: serving }
    }

    /// Sends SIGKILL to the process the next time this step is reached. Do not wait for the process
    /// before that: its PID could be reused by another process.
    ///
    /// # Panics
    /// When `process` is not a valid PID.
    pub fn arm(&self, step: Step, process: u32) {
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
        *self.armed.lock() = Some((step, pid.expect("a process's number")));
    }
}

impl Armed {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Step, Pid)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the process, once.
    fn fire(&self) {
        if let Some((_, pid)) = self.lock().take() {
            kill_process(pid, Signal::KILL).expect("the process is not reaped yet");
        }
    }
}

/// The traffic on one connection since its last request began. It is recorded even when no step
/// is armed: a step may be armed while a request still waits for its answer.
#[derive(Default)]
struct Exchange {
    said: Vec<u8>,
    heard: Vec<u8>,
}

/// Limit of what is kept of an exchange. No step matches anything later than this.
const KEPT: usize = 1 << 20;

impl Exchange {
    fn says(&mut self, bytes: &[u8]) {
        if is_request(bytes) {
            *self = Self::default();
        }
        keep(&mut self.said, bytes);
    }

    fn hears(&mut self, bytes: &[u8]) {
        keep(&mut self.heard, bytes);
    }

    fn is_at(&self, step: &Step) -> bool {
        let line = self.said.split(|byte| *byte == b'\r').next().unwrap_or_default();
        contains(line, step.request)
            && step.says.is_none_or(|text| contains(&self.said, text))
            && step.hears.is_none_or(|text| !self.heard.is_empty() && contains(&self.heard, text))
    }
}

fn keep(all: &mut Vec<u8>, bytes: &[u8]) {
    if all.len() < KEPT {
        all.extend_from_slice(bytes);
    }
}

fn is_request(bytes: &[u8]) -> bool {
    ["GET /", "POST /", "PUT /", "DELETE /", "HEAD /"]
        .iter()
        .any(|method| bytes.starts_with(method.as_bytes()))
}

fn contains(bytes: &[u8], text: &str) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Relays until either side closes or the step is reached.
async fn relay(near: impl AsyncRead + AsyncWrite, far: impl AsyncRead + AsyncWrite, armed: Armed) {
    let (mut near_in, mut near_out) = tokio::io::split(near);
    let (mut far_in, mut far_out) = tokio::io::split(far);
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut exchange = Exchange::default();
    loop {
        let (is_up, count) = tokio::select! {
            read = near_in.read(&mut up) => (true, read),
            read = far_in.read(&mut down) => (false, read),
        };
        let Ok(count @ 1..) = count else { return };
        if is_up {
            exchange.says(&up[..count]);
        } else {
            exchange.hears(&down[..count]);
        }
        let step = armed.lock().map(|(step, _)| step);
        // The last part of a step must match the bytes in hand, not earlier traffic.
        let there = step.is_some_and(|step| is_up == step.hears.is_none() && exchange.is_at(&step));
        if !there || step.is_some_and(|step| step.passes) {
            let written = if is_up {
                far_out.write_all(&up[..count]).await
            } else {
                near_out.write_all(&down[..count]).await
            };
            if written.is_err() {
                return;
            }
        }
        if there {
            return armed.fire();
        }
    }
}

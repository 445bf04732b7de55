//! Named steps of a program that a test is to kill: a relay before something that
//! the program calls sees its requests and their answers, and kills the program at
//! the one that a test has named. The program itself knows nothing of it.

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

/// A step, by what is said on one connection. Each part has to be met after the one
/// before it, and before the connection's next request.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Part of a request's first line, like `/containers/create`.
    pub request: &'static str,
    /// What the program says with it, or after it where a stream follows.
    pub says: Option<&'static str>,
    /// What it is answered, `Some("")` for anything.
    pub hears: Option<&'static str>,
    /// Whether the last of it still passes before the program dies.
    pub passes: bool,
}

/// Stands before one address. Dropping it ends its connections.
#[derive(Debug)]
pub struct Breakpoint {
    armed: Armed,
    _serving: JoinSet<()>,
}

#[derive(Clone, Debug, Default)]
struct Armed(Arc<Mutex<Option<(Step, Pid)>>>);

impl Breakpoint {
    /// Before a program that listens on this machine; where it listens itself.
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

    /// Before a socket of this machine, at a socket of its own.
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

    /// The next time that it comes to this step, the process gets SIGKILL. It must
    /// not be waited for before that, or its number may be another's.
    ///
    /// # Panics
    /// When there is no such number.
    pub fn arm(&self, step: Step, process: u32) {
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
        *self.armed.lock() = Some((step, pid.expect("a process's number")));
    }
}

impl Armed {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Step, Pid)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills, once.
    fn fire(&self) {
        if let Some((_, pid)) = self.lock().take() {
            kill_process(pid, Signal::KILL).expect("it was not waited for yet");
        }
    }
}

/// What was said on one connection since its last request began. It is kept when no
/// step is armed, too: a request may wait for its answer for long.
#[derive(Default)]
struct Exchange {
    said: Vec<u8>,
    heard: Vec<u8>,
}

/// More of an exchange is not kept: nothing that a step names comes so late.
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

/// Until one of the two closes, or the step is there.
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
        // The last part of a step is what is there now, not what was said long ago.
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

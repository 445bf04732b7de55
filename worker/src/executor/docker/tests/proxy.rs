//! A proxy in front of the engine's socket that misbehaves on request, for one request path or
//! altogether.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The engine carries it out; the connection breaks when the answer comes.
    LoseAnswer,
    /// The engine carries it out; the answer never arrives.
    Swallow,
    /// The engine never gets it, and no answer comes.
    Hang,
    /// The connection breaks at once; the engine gets the request this much later.
    Late(Duration),
    /// The connection breaks after this many bytes of the answer, or of what follows it.
    CutAfter(usize),
    /// The connection stays open after the engine has closed it.
    KeepOpen,
}

pub(super) struct Proxy {
    folder: TempDir,
    engine: PathBuf,
    faults: Faults,
    frozen: watch::Sender<bool>,
    serving: JoinSet<()>,
}

#[derive(Clone, Default)]
struct Faults(Arc<Mutex<Vec<(String, Fault)>>>);

impl Faults {
    /// Removes and returns the first planned fault that matches this request.
    fn take(&self, request: &[u8]) -> Option<Fault> {
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut faults = self.0.lock().unwrap();
        let index = faults.iter().position(|(part, _)| line.contains(part.as_str()))?;
        Some(faults.remove(index).1)
    }
}

impl Proxy {
    /// `engine` is an address like `unix:///var/run/docker.sock`.
    pub(super) fn before(engine: &str) -> Self {
        let engine = PathBuf::from(engine.strip_prefix("unix://").expect("a unix socket"));
        let mut proxy = Self {
            folder: tempfile::tempdir().unwrap(),
            engine,
            faults: Faults::default(),
            frozen: watch::Sender::new(false),
            serving: JoinSet::new(),
        };
        proxy.come_back();
        proxy
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    pub(super) fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Plans these faults, one each, for the next requests whose first line contains `part`.
    pub(super) fn plan(&self, part: &str, faults: &[Fault]) {
        let planned = faults.iter().map(|fault| (part.to_owned(), *fault));
        self.faults.0.lock().unwrap().extend(planned);
    }

    /// Whether all planned faults have happened.
    pub(super) fn is_through(&self) -> bool {
        self.faults.0.lock().unwrap().is_empty()
    }

    /// Accepts and keeps connections, but passes nothing on.
    pub(super) fn hang(&self) {
        self.frozen.send_replace(true);
    }

    /// Passes on what has waited.
    pub(super) fn go_on(&self) {
        self.frozen.send_replace(false);
    }

    /// Breaks all connections and stops listening. Without `socket` the socket file is removed,
    /// too.
    pub(super) async fn go_away(&mut self, socket: bool) {
        self.serving.shutdown().await;
        if !socket {
            std::fs::remove_file(self.socket()).unwrap();
        }
    }

    pub(super) fn come_back(&mut self) {
        // A socket file from before would be in the way.
        let _ = std::fs::remove_file(self.socket());
        let listener = UnixListener::bind(self.socket()).unwrap();
        let (engine, faults) = (self.engine.clone(), self.faults.clone());
        let frozen = self.frozen.subscribe();
        self.serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((here, _)) = listener.accept().await {
                let Ok(there) = UnixStream::connect(&engine).await else { continue };
                connections.spawn(pass(here, there, faults.clone(), frozen.clone()));
            }
        });
    }
}

/// Forwards until one side closes, or a fault intervenes.
async fn pass(
    mut here: UnixStream,
    mut there: UnixStream,
    faults: Faults,
    mut frozen: watch::Receiver<bool>,
) {
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut fault = None;
    let mut passed = 0;
    loop {
        tokio::select! {
            read = here.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                thaw(&mut frozen).await;
                if let Some(planned) = faults.take(&up[..count]) {
                    (fault, passed) = (Some(planned), 0);
                }
                match fault {
                    Some(Fault::Hang) => return std::future::pending().await,
                    Some(Fault::Late(delay)) => {
                        let request = whole_request(&up[..count], &mut here).await;
                        drop(here);
                        sleep(delay).await;
                        there.write_all(&request).await.unwrap();
                        let _ = there.read(&mut down).await;
                        return;
                    }
                    _ => if there.write_all(&up[..count]).await.is_err() { return },
                }
            }
            read = there.read(&mut down) => {
                thaw(&mut frozen).await;
                let count = read.unwrap_or(0);
                let forward = match fault {
                    Some(Fault::LoseAnswer) => return,
                    Some(Fault::Swallow) => 0,
                    Some(Fault::KeepOpen) if count == 0 => return std::future::pending().await,
                    Some(Fault::CutAfter(most)) => count.min(most - passed),
                    _ => count,
                };
                passed += forward;
                let written = here.write_all(&down[..forward]).await;
                if count == 0 || written.is_err() || fault == Some(Fault::CutAfter(passed)) {
                    return;
                }
            }
        }
    }
}

async fn thaw(frozen: &mut watch::Receiver<bool>) {
    let thawed = frozen.wait_for(|frozen| !frozen).await.is_ok();
    assert!(thawed || frozen.has_changed().is_err(), "it thaws or is gone");
}

/// Reads the rest of a request, whose head gives its length.
async fn whole_request(beginning: &[u8], rest: &mut UnixStream) -> Vec<u8> {
    let mut request = beginning.to_vec();
    loop {
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if request.len() >= head.len() + 4 + length {
                return request;
            }
        }
        let mut more = [0; 4096];
        let count = rest.read(&mut more).await.unwrap();
        assert_ne!(count, 0, "the request ended early");
        request.extend_from_slice(&more[..count]);
    }
}

/// The address of this machine's engine.
pub(super) fn engine_address() -> String {
    let address = std::env::var_os("DOCKER_HOST").and_then(|address| address.into_string().ok());
    address.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned())
}

/// The same, if it is a socket that exists.
pub(super) fn engine_socket() -> Option<String> {
    let address = engine_address();
    let there = Path::new(address.strip_prefix("unix://")?).exists();
    there.then_some(address)
}

//! A volume driver, as the engine's plugins are
//! (<https://docs.docker.com/engine/extend/plugins_volume/>): JSON over a socket in the engine's plugin
//! folder, which belongs to this test. Its volumes are folders, and it counts their mounts.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use orchestra_tests::{daemon::Daemon, repository};
use serde_json::{Value, json};

use super::{docker, of};

/// Ends with this handle, except for connections that the engine holds open.
#[derive(Debug)]
pub(super) struct Driver<'a> {
    name: String,
    engine: &'a Daemon,
    socket: PathBuf,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    mounted: AtomicI64,
    mounts: AtomicU64,
}

/// A volume. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Volume<'a> {
    pub(super) name: String,
    engine: &'a Daemon,
}

impl<'a> Driver<'a> {
    /// Starts a driver for this engine alone.
    pub(super) fn start(engine: &'a Daemon, name: &str, root: &Path) -> Self {
        let socket = engine.plugins().join(format!("{name}.sock"));
        let listener = UnixListener::bind(&socket).expect("the name is free");
        let (mounted, mounts) = Default::default();
        let state = Arc::new(State { root: root.to_owned(), mounted, mounts });
        let serving = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = serving.clone();
                std::thread::spawn(move || state.serve(&stream));
            }
        });
        Self { name: name.to_owned(), engine, socket, state }
    }

    /// A volume with Hello.cpp in it.
    pub(super) fn volume(&self) -> Volume<'a> {
        let volume = Volume { name: format!("{}-files", self.name), engine: self.engine };
        docker(self.engine, &["volume", "create", "--driver", &self.name, &volume.name]);
        let hello = repository().join("worker-files/Hello.cpp");
        fs::copy(hello, self.root().join("Hello.cpp")).expect("the driver has made it");
        volume
    }

    /// Path of the volume's files.
    pub(super) fn root(&self) -> &Path {
        &self.state.root
    }

    /// The number of mounts without an unmount.
    pub(super) fn mounted(&self) -> i64 {
        self.state.mounted.load(Ordering::Relaxed)
    }

    pub(super) fn was_mounted(&self) -> bool {
        self.state.mounts.load(Ordering::Relaxed) > 0
    }
}

impl State {
    /// The part of HTTP/1.1 that the engine uses here.
    fn serve(&self, stream: &UnixStream) {
        let mut reader = BufReader::new(stream);
        while let Some((call, body)) = next(&mut reader) {
            let answer = self.answer(&call, &body).to_string();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.plugins.v1.2+json";
            let length = answer.len();
            let mut writer = stream;
            if write!(writer, "{head}\r\nContent-Length: {length}\r\n\r\n{answer}").is_err() {
                return;
            }
        }
    }

    fn answer(&self, call: &str, body: &Value) -> Value {
        let path = self.root.display().to_string();
        match call {
            "/Plugin.Activate" => json!({"Implements": ["VolumeDriver"]}),
            "/VolumeDriver.Capabilities" => json!({"Capabilities": {"Scope": "global"}}),
            "/VolumeDriver.Create" => match fs::create_dir_all(&self.root) {
                Ok(()) => json!({"Err": ""}),
                Err(error) => json!({"Err": error.to_string()}),
            },
            // Otherwise the engine assumes that the volume exists already.
            "/VolumeDriver.Get" if !self.root.exists() => json!({"Err": "there is none"}),
            "/VolumeDriver.Get" => {
                json!({"Volume": {"Name": body["Name"], "Mountpoint": path}, "Err": ""})
            }
            "/VolumeDriver.Path" => json!({"Mountpoint": path, "Err": ""}),
            "/VolumeDriver.List" => json!({"Volumes": [], "Err": ""}),
            "/VolumeDriver.Mount" => {
                self.mounts.fetch_add(1, Ordering::Relaxed);
                self.mounted.fetch_add(1, Ordering::Relaxed);
                json!({"Mountpoint": path, "Err": ""})
            }
            "/VolumeDriver.Unmount" => {
                self.mounted.fetch_sub(1, Ordering::Relaxed);
                json!({"Err": ""})
            }
            "/VolumeDriver.Remove" => json!({"Err": ""}),
            other => json!({"Err": format!("nobody asked for {other} before")}),
        }
    }
}

/// Reads the next call and its body; `None` when the engine closes the connection.
fn next(reader: &mut BufReader<&UnixStream>) -> Option<(String, Value)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let call = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        if line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((call, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

impl Drop for Volume<'_> {
    fn drop(&mut self) {
        let _ = of(self.engine, &["volume", "rm", "--force", &self.name]).output();
    }
}

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

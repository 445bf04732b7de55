//! The measured `orchestra` program, and child processes that end with this one.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{args::Args, error::BenchError};

/// The root of the sources.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("bench stands in the workspace")
}

/// The program to measure: the given one, or one that cargo builds with the profile of this
/// program, into the same folder. `orchestra-worker` is in that folder too.
pub(crate) fn find(args: &Args) -> Result<PathBuf, BenchError> {
    if let Some(path) = &args.orchestra {
        return path.canonicalize().map_err(BenchError::io(path.display().to_string()));
    }
    let me = std::env::current_exe().map_err(BenchError::io("this program's path"))?;
    let folder = me.parent().unwrap_or(Path::new("."));
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    eprintln!("== building the orchestra program (profile {profile})");
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--package", "orchestra-cli", "--package", "orchestra-worker"])
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(folder.parent().unwrap_or(folder))
        .current_dir(repository())
        .status()
        .map_err(BenchError::io("cargo"))?;
    if !status.success() {
        return Err(BenchError::unexpected(format!("cargo build ended with {status}")));
    }
    Ok(folder.join("orchestra"))
}

/// A child process. Dropping it terminates it and waits until it has ended.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts it with both output streams in one file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self, BenchError> {
        let file = File::create(log).map_err(BenchError::io(log.display().to_string()))?;
        let second = file.try_clone().map_err(BenchError::io("a second handle"))?;
        command.stdin(Stdio::null()).stdout(file).stderr(second);
        let what = command.get_program().to_string_lossy().into_owned();
        command.spawn().map(Self).map_err(BenchError::io(what))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Process {
    /// Terminates it and waits until it has ended; our programs end in bounded time.
    pub(crate) fn end(&mut self) {
        if self.has_ended() {
            return;
        }
        if let Some(pid) = Pid::from_raw(self.0.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

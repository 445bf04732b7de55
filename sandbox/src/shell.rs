//! Starts the job's shell; no other module does.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, ErrorKind, Seek, Write},
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
};

use orchestra_sandbox::protocol::Run;

use crate::sys;

/// The first one that exists runs the job.
pub(crate) const SHELLS: [(&str, &str); 4] =
    [("/bin/bash", "bash"), ("/usr/bin/bash", "bash"), ("/bin/sh", "sh"), ("/usr/bin/sh", "sh")];

/// Enters the working folder. The error is a sentence for the user.
pub(crate) fn enter(run: &Run) -> Result<(), String> {
    let workdir = Path::new(OsStr::from_bytes(&run.workdir));
    std::env::set_current_dir(workdir).map_err(|error| {
        format!("cannot enter the working directory {}: {error}", workdir.display())
    })?;
    sys::set_umask(run.umask);
    Ok(())
}

/// Starts the shell as leader of its own session, with piped output, and returns once it runs. It
/// inherits the working folder and the umask set by [`enter`]. The error is a sentence for the
/// user.
pub(crate) fn start(run: &Run) -> Result<Child, String> {
    for (path, name) in SHELLS {
        match command(path, name, run).and_then(|mut command| command.spawn()) {
            Ok(shell) => {
                come_first(&shell);
                return Ok(shell);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::ArgumentListTooLong => {
                return Err("the command or its environment is too long: \
                            the kernel takes no string over 131071 bytes"
                    .to_owned());
            }
            Err(error) => return Err(format!("cannot start {path}: {error}")),
        }
    }
    Err("cannot start a shell: the image has neither bash nor sh in /bin or /usr/bin".to_owned())
}

fn command(path: &str, name: &str, run: &Run) -> io::Result<Command> {
    let mut command = Command::new(path);
    command
        .arg0(name)
        .arg("-c")
        .arg(OsStr::from_bytes(&run.script))
        .env_clear()
        .envs(run.env.iter().map(|(key, value)| (OsStr::from_bytes(key), OsStr::from_bytes(value))))
        .stdin(stdin(&run.stdin)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    sys::start_shut_in(&mut command);
    Ok(command)
}

/// Makes the kernel's OOM killer choose the shell and its children before this program, which can
/// then still report it. (Best effort: a job may undo this for itself.)
fn come_first(shell: &Child) {
    let _ = fs::write(format!("/proc/{}/oom_score_adj", shell.id()), "1000");
}

/// Uses a file in memory, because a pipe would need somebody to feed it.
fn stdin(bytes: &[u8]) -> io::Result<Stdio> {
    if bytes.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file: File = sys::file_in_memory(c"stdin")?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

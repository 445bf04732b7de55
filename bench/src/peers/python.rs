//! Python libraries. Each has a script beside this file that enqueues jobs, has the library's own
//! workers run them, and prints how many that were per second.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use super::{free_port, program};
use crate::{
    error::BenchError,
    program::{Process, repository},
};

/// Time allowed beyond the block, for servers and workers to start and stop.
const AROUND: Duration = Duration::from_mins(1);
/// Names the Python interpreter that has the libraries.
const VARIABLE: &str = "BENCH_PYTHON";

pub(super) async fn block(folder: &Path, library: &str, time: Duration) -> Result<f64, BenchError> {
    let python = std::env::var_os(VARIABLE).unwrap_or_else(|| "python3".into());
    let import = match library {
        "celery" => "import celery, redis",
        "procrastinate" => "import procrastinate, psycopg",
        _ => "import huey",
    };
    let mut look = Command::new(&python);
    look.args(["-c", import]).stdout(Stdio::null()).stderr(Stdio::null());
    if !look.status().await.is_ok_and(|status| status.success()) {
        return Err(missing(library));
    }
    let port = free_port()?;
    let _server = if library == "celery" { Some(redis(folder, port)?) } else { None };
    let mut script = Command::new(&python);
    script
        .arg(repository().join("bench/src/peers").join(format!("{library}_peer.py")))
        .arg(folder)
        .arg(port.to_string())
        .arg(time.as_secs().to_string())
        .kill_on_drop(true);
    let output = timeout(time + AROUND, script.output()).await;
    let output = output
        .map_err(|_| BenchError::unexpected(format!("{library} does not end")))?
        .map_err(BenchError::io(library))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().and_then(|line| line.trim().parse().ok());
    last.ok_or_else(|| {
        let error = String::from_utf8_lossy(&output.stderr);
        BenchError::unexpected(format!("{library}: {}", error.trim()))
    })
}

fn redis(folder: &Path, port: u16) -> Result<Process, BenchError> {
    let Some(path) = program("redis-server", &["/usr/bin"]) else {
        return Err(BenchError::Missing {
            what: "redis-server",
            how: "apt-get install redis-server",
        });
    };
    let mut command = std::process::Command::new(path);
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
        .arg(folder);
    Process::start(command, &folder.join("redis.log"))
}

fn missing(library: &str) -> BenchError {
    match library {
        "celery" => BenchError::Missing {
            what: "celery",
            how: "pip install 'celery[redis]' into a virtual environment, and BENCH_PYTHON=<its python>",
        },
        "procrastinate" => BenchError::Missing {
            what: "procrastinate",
            how: "pip install 'procrastinate' 'psycopg[binary]' into a virtual environment, and \
                  BENCH_PYTHON=<its python>; its server by apt-get install postgresql",
        },
        _ => BenchError::Missing {
            what: "huey",
            how: "pip install huey into a virtual environment, and BENCH_PYTHON=<its python>",
        },
    }
}

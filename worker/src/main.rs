//! The `orchestra-worker` program: reads its settings, runs a worker until it is
//! told to stop. A second signal makes it hurry.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::Parser;
use orchestra_worker::{Config, run_until};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Claims jobs from a master and runs each in a sandboxed container.
#[derive(Parser)]
#[command(name = "orchestra-worker", version)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// Our own failures, as opposed to a job's.
const FAILED: u8 = 125;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();

    let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
    let worker = run_until(arguments.config, soft.clone(), hard.clone());
    let signals = async {
        wait_for_signal().await;
        soft.cancel();
        wait_for_signal().await;
        hard.cancel();
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = worker => ended,
        () = signals => unreachable!("it never ends"),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orchestra-worker: {error}");
            ExitCode::from(FAILED)
        }
    }
}

async fn wait_for_signal() {
    let listen = |kind| signal(kind).expect("the runtime was built with its signal driver");
    let (mut interrupt, mut terminate) =
        (listen(SignalKind::interrupt()), listen(SignalKind::terminate()));
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
}

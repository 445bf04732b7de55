//! `orchestra-master`: the master by itself. `orchestra master` is the same.

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use orchestra_master::{Config, MasterError, bind, lifecycle, run};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Own failures, as with `docker run`.
const FAILURE: u8 = 125;

/// Keeps jobs, hands them out to workers, serves the REST API
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours);
    log.with_writer(std::io::stderr).init();
    let shutdown = CancellationToken::new();
    let ended = tokio::select! {
        ended = serve(arguments.config, shutdown.clone()) => ended,
        _ = lifecycle::until_second_signal(shutdown) => return ExitCode::from(FAILURE),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orchestra-master: {error}");
            ExitCode::from(FAILURE)
        }
    }
}

async fn serve(config: Config, shutdown: CancellationToken) -> Result<(), MasterError> {
    let listener = bind(&config).await?;
    run(listener, config, shutdown).await
}

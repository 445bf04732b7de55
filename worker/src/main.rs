//! The `orchestra-worker` program. It reads its settings and runs a worker until the first signal.
//! A second signal ends the grace time.

use std::process::ExitCode;

use clap::Parser;
use orchestra_program::{LogFormat, OWN_FAILURE, export_spans, log_to_stderr, soft_then_hard};
use orchestra_worker::{Config, run_until};
use tokio_util::sync::CancellationToken;

/// Claims jobs from a master and runs each in a sandboxed container.
#[derive(Parser)]
#[command(name = "orchestra-worker", version)]
struct Arguments {
    #[command(flatten)]
    config: Config,

    /// What to log, for example `info` or `orchestra_worker=debug,warn`
    #[arg(long, env = "ORCHESTRA_LOG", value_name = "FILTER", default_value = "info")]
    log: String,

    /// How its lines are written: text for people, json for what collects logs
    #[arg(long, env = "ORCHESTRA_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    orchestra_program::run(program())
}

async fn program() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr(&arguments.log, arguments.log_format);
    export_spans("orchestra-worker", env!("CARGO_PKG_VERSION"));

    let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
    let worker = run_until(arguments.config, soft.clone(), hard.clone());
    let signals = async {
        soft_then_hard(&soft).await;
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
            ExitCode::from(OWN_FAILURE)
        }
    }
}

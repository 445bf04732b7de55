//! `orchestra-master`: the master as a program of its own, the same as `orchestra master`.

use std::process::ExitCode;

use clap::Parser;
use orchestra_master::{Config, MasterError, bind, run};
use orchestra_program::{LogFormat, OWN_FAILURE, export_spans, log_to_stderr, soft_then_hard};
use tokio_util::sync::CancellationToken;

/// Keeps jobs, hands them out to workers, serves the REST API
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: Config,

    /// What to log, for example `info` or `orchestra_master=debug,warn`
    #[arg(long, env = "ORCHESTRA_LOG", value_name = "FILTER", default_value = "info")]
    log: String,

    /// Log format: text for people, json for log collectors
    #[arg(long, env = "ORCHESTRA_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    orchestra_program::run(program())
}

async fn program() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr(&arguments.log, arguments.log_format);
    export_spans("orchestra-master", env!("CARGO_PKG_VERSION"));
    let shutdown = CancellationToken::new();
    let ended = tokio::select! {
        ended = serve(arguments.config, shutdown.clone()) => ended,
        () = soft_then_hard(&shutdown) => return ExitCode::from(OWN_FAILURE),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orchestra-master: {error}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}

async fn serve(config: Config, shutdown: CancellationToken) -> Result<(), MasterError> {
    let listener = bind(&config).await?;
    run(listener, config, shutdown).await
}

//! `orchestra master`.

use orchestra_master::{Config, MasterError};
use orchestra_program::soft_then_hard;
use tokio_util::sync::CancellationToken;

use crate::{
    exit::{Exit, INTERRUPTED},
    failure::Failure,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Master {
    #[command(flatten)]
    config: Config,
}

pub(crate) async fn master(args: Master) -> Result<Exit, Failure> {
    let shutdown = CancellationToken::new();
    tokio::select! {
        ended = serve(args.config, shutdown.clone()) => ended?,
        () = soft_then_hard(&shutdown) => return Ok(Exit(INTERRUPTED)),
    }
    Ok(Exit::SUCCESS)
}

async fn serve(config: Config, shutdown: CancellationToken) -> Result<(), MasterError> {
    let listener = orchestra_master::bind(&config).await?;
    orchestra_master::run(listener, config, shutdown).await
}

//! `orchestra master`.

use orchestra_master::{Config, MasterError, lifecycle};
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
        ended = lifecycle::until_second_signal(shutdown) => {
            ended.map_err(|error| Failure::said(format!("signals cannot be awaited: {error}")))?;
            return Ok(Exit(INTERRUPTED));
        }
    }
    Ok(Exit::SUCCESS)
}

async fn serve(config: Config, shutdown: CancellationToken) -> Result<(), MasterError> {
    let listener = orchestra_master::bind(&config).await?;
    orchestra_master::run(listener, config, shutdown).await
}

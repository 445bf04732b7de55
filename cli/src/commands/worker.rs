//! `orchestra worker`.

use std::{convert::Infallible, future::pending};

use orchestra_program::soft_then_hard;
use orchestra_worker::{Config, run_until};
use tokio_util::sync::CancellationToken;

use crate::{exit::Exit, failure::Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Worker {
    #[command(flatten)]
    config: Config,
}

/// The first signal lets jobs go on for the grace time, the second ends them.
pub(crate) async fn worker(args: Worker) -> Result<Exit, Failure> {
    let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
    let tell = async {
        soft_then_hard(&soft).await;
        hard.cancel();
        pending::<Infallible>().await
    };
    tokio::select! {
        ended = run_until(args.config, soft.clone(), hard.clone()) => ended?,
        never = tell => match never {},
    }
    Ok(Exit::SUCCESS)
}

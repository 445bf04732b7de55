//! `orchestra images rm` and `orchestra images prune`.

use orchestra_contracts::Span;
use orchestra_worker::job_images;

use super::said;
use crate::{args::Engine, clock, exit::Exit, failure::Failure, output::print_line};

#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// Folders under images/, or references like orchestra/gcc:0123456789ab
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    #[command(flatten)]
    engine: Engine,
}

const UNUSED: &str = "What was not used for so long [default: 14d, or ORCHESTRA_KEEP_IMAGES]";

#[derive(Debug, clap::Args)]
pub(super) struct Prune {
    /// Only images of these folders [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    #[arg(long, value_name = "TIME", help = UNUSED)]
    unused: Option<Span>,

    /// Only print what would be removed
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    engine: Engine,
}

pub(super) async fn remove(args: Remove) -> Result<Exit, Failure> {
    let images = job_images(&args.engine.worker()?).await?;
    for name in args.names {
        for reference in images.remove(&name).await.map_err(said)? {
            print_line(reference)?;
        }
    }
    Ok(Exit::SUCCESS)
}

pub(super) async fn prune(args: Prune) -> Result<Exit, Failure> {
    let images = job_images(&args.engine.worker()?).await?;
    let outdated = images.outdated(&args.names, args.unused, clock::now()).await.map_err(said)?;
    for image in outdated {
        if args.dry_run || images.discard(&image).await.map_err(said)? {
            print_line(&image.reference)?;
        }
    }
    Ok(Exit::SUCCESS)
}

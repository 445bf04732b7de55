//! `orchestra images`.

mod build;
mod ls;
mod rm;

use clap::Subcommand;
use orchestra_worker::ImageError;

use crate::{exit::Exit, failure::Failure};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Images {
    #[command(subcommand)]
    verb: Option<Verb>,

    #[command(flatten)]
    list: ls::List,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List images (the default)
    Ls(ls::List),
    /// Build images that the engine does not have yet
    Build(build::Build),
    /// Remove everything built from a folder, or one image by its reference
    ///
    /// Images that a container uses are kept. The folder itself is not touched: when a job needs
    /// the image, it is built again.
    Rm(rm::Remove),
    /// Remove images that no folder describes any more, depending on their last use
    ///
    /// A worker does this automatically, once an hour. Images that were used within the last hour,
    /// or that a container uses, are kept.
    Prune(rm::Prune),
}

pub(crate) async fn images(args: Images) -> Result<Exit, Failure> {
    match args.verb {
        None => ls::list(args.list).await,
        Some(Verb::Ls(args)) => ls::list(args).await,
        Some(Verb::Build(args)) => build::build(args).await,
        Some(Verb::Rm(args)) => rm::remove(args).await,
        Some(Verb::Prune(args)) => rm::prune(args).await,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn said(error: ImageError) -> Failure {
    Failure::said(error.to_string())
}

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
    /// List them (what `orchestra images` alone does)
    Ls(ls::List),
    /// Build them where the engine has not got them yet
    Build(build::Build),
    /// Remove what was built of a folder, or one image by its reference
    ///
    /// What a container is made of stays. The folder is left alone: a job that wants it has it
    /// built again.
    Rm(rm::Remove),
    /// Remove what no folder describes any more, by its last use
    ///
    /// A worker does the same by itself, once an hour. What was used within the hour stays, and
    /// so does what a container is made of.
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

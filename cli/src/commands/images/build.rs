//! `orchestra images build`.

use futures::join;
use orchestra_worker::{job_images, step_of};
use tokio::sync::mpsc;

use super::said;
use crate::{
    args::Engine,
    exit::Exit,
    failure::Failure,
    output::{bar::Bar, print_line, say},
};

#[derive(Debug, clap::Args)]
pub(super) struct Build {
    /// The images to build [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Build again from the first step, to get newer packages
    #[arg(long)]
    fresh: bool,

    #[command(flatten)]
    engine: Engine,
}

pub(super) async fn build(args: Build) -> Result<Exit, Failure> {
    let images = job_images(&args.engine.worker()?).await?;
    let mut names = args.names;
    if names.is_empty() {
        names = images.names().await.map_err(said)?;
    }
    for name in names {
        let (sender, lines) = mpsc::channel(64);
        let building = async {
            if args.fresh {
                images.build(&name, sender).await
            } else {
                images.ensure(&name, sender).await
            }
        };
        let (built, ()) = join!(building, tell(lines));
        print_line(built.map_err(said)?.reference)?;
    }
    Ok(Exit::SUCCESS)
}

/// On a terminal as a bar of the Dockerfile's steps, elsewhere line by line.
async fn tell(mut lines: mpsc::Receiver<String>) {
    let bar = Bar::new();
    while let Some(line) = lines.recv().await {
        match &bar {
            None => say(&line),
            Some(bar) => bar.show(step_of(&line), &line),
        }
    }
}

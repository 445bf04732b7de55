//! `orchestra images`.

use clap::Subcommand;
use futures::join;
use orchestra_worker::job_images;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    args::{Engine, Output},
    exit::Exit,
    failure::Failure,
    output::{Format, print, print_json, print_line, say, table::Table},
};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Images {
    #[command(subcommand)]
    verb: Option<Verb>,

    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List them (what `orchestra images` alone does)
    Ls(List),
    /// Build them where the engine has not got them yet
    Build(Build),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    engine: Engine,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Build {
    /// Which ones [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Build again from the first step, for newer packages
    #[arg(long)]
    fresh: bool,

    #[command(flatten)]
    engine: Engine,
}

/// One image as `-o json` shows it.
#[derive(Serialize)]
struct Image {
    name: String,
    reference: String,
    built: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

pub(crate) async fn images(args: Images) -> Result<Exit, Failure> {
    match args.verb {
        None => list(args.list).await,
        Some(Verb::Ls(args)) => list(args).await,
        Some(Verb::Build(args)) => build(args).await,
    }
}

async fn list(args: List) -> Result<Exit, Failure> {
    let images = job_images(&args.engine.worker()?).await?;
    let all = images.list().await.map_err(|error| Failure::said(error.to_string()))?;
    let all = all.into_iter().map(|image| Image {
        name: image.name,
        reference: image.reference,
        built: image.built,
        size: image.size,
    });
    let all: Vec<Image> = all.collect();
    match args.output.format {
        Format::Json => print_json(&all)?,
        Format::Name => all.iter().try_for_each(|image| print_line(&image.name))?,
        Format::Table => print(&table(&all).text())?,
    }
    Ok(Exit::SUCCESS)
}

fn table(images: &[Image]) -> Table {
    let mut table = Table::new(["NAME", "STATE", "SIZE", "REFERENCE"]);
    for image in images {
        table.row([
            image.name.clone(),
            if image.built { "built" } else { "not built" }.to_owned(),
            image.size.map(|bytes| format!("{} MB", bytes / 1_000_000)).unwrap_or_default(),
            image.reference.clone(),
        ]);
    }
    table
}

async fn build(args: Build) -> Result<Exit, Failure> {
    let images = job_images(&args.engine.worker()?).await?;
    let said = |error: orchestra_worker::ImageError| Failure::said(error.to_string());
    let mut names = args.names;
    if names.is_empty() {
        names = images.list().await.map_err(said)?.into_iter().map(|image| image.name).collect();
    }
    for name in names {
        let (sender, mut lines) = mpsc::channel(64);
        let building = async {
            if args.fresh {
                images.build(&name, sender).await
            } else {
                images.ensure(&name, sender).await
            }
        };
        let telling = async {
            while let Some(line) = lines.recv().await {
                say(&line);
            }
        };
        let (built, ()) = join!(building, telling);
        print_line(built.map_err(said)?.reference)?;
    }
    Ok(Exit::SUCCESS)
}

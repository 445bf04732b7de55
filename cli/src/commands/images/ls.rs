//! `orchestra images ls`.

use jiff::Timestamp;
use orchestra_worker::{ImageStatus, StaleImage, job_images};
use serde::Serialize;

use super::said;
use crate::{
    args::{Engine, Output},
    clock,
    exit::Exit,
    failure::Failure,
    output::{Format, print, print_json, print_line, table::Table, when},
};

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    engine: Engine,

    #[command(flatten)]
    output: Output,
}

/// One image as `-o json` shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    name: String,
    reference: String,
    built: bool,
    /// It is not what its folder describes now.
    stale: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<Timestamp>,
}

impl From<ImageStatus> for Image {
    fn from(image: ImageStatus) -> Self {
        let ImageStatus { name, reference, built, size, last_used } = image;
        Self { name, reference, built, stale: false, size, last_used }
    }
}

impl From<StaleImage> for Image {
    fn from(image: StaleImage) -> Self {
        let StaleImage { name, reference, size, last_used, in_use: _ } = image;
        let (size, last_used) = (Some(size), Some(last_used));
        Self { name, reference, built: true, stale: true, size, last_used }
    }
}

pub(super) async fn list(args: List) -> Result<Exit, Failure> {
    let images = job_images(&args.engine.worker()?).await?;
    let mut all: Vec<Image> =
        images.list().await.map_err(said)?.into_iter().map(Image::from).collect();
    if args.output.format == Format::Name {
        all.iter().try_for_each(|image| print_line(&image.name))?;
        return Ok(Exit::SUCCESS);
    }
    all.extend(images.stale().await.map_err(said)?.into_iter().map(Image::from));
    // Each folder's own first, then what is left of it.
    all.sort_by(|a, b| (&a.name, a.stale).cmp(&(&b.name, b.stale)));
    match args.output.format {
        Format::Json => print_json(&all)?,
        _ => print(&table(&all, clock::now()).text())?,
    }
    Ok(Exit::SUCCESS)
}

fn table(images: &[Image], now: Timestamp) -> Table {
    let mut table = Table::new(["NAME", "STATE", "SIZE", "LAST USED", "REFERENCE"]);
    for image in images {
        let state = match (image.built, image.stale) {
            (_, true) => "stale",
            (true, false) => "built",
            (false, false) => "not built",
        };
        table.row([
            image.name.clone(),
            state.to_owned(),
            image.size.map(|bytes| format!("{} MB", bytes / 1_000_000)).unwrap_or_default(),
            image.last_used.map(|at| format!("{} ago", when::age(now, at))).unwrap_or_default(),
            image.reference.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_whether_an_image_is_built_and_when_it_was_used() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let last_used = Timestamp::from_second(1_000_000 - 7200).unwrap();
        let (name, reference) = ("gcc".to_owned(), "orchestra/gcc:1".to_owned());
        let current = ImageStatus {
            name: name.clone(),
            reference: reference.clone(),
            built: false,
            size: None,
            last_used: None,
        };
        let stale = StaleImage { name, reference, size: 580_000_000, last_used, in_use: true };
        let text = table(&[current.into(), stale.into()], now).text();
        let rows: Vec<Vec<&str>> =
            text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            rows,
            [
                vec!["gcc", "not", "built", "orchestra/gcc:1"],
                vec!["gcc", "stale", "580", "MB", "2h", "ago", "orchestra/gcc:1"],
            ]
        );
    }
}

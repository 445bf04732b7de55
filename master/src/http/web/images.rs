//! `GET /images`: the job images and the workers that have them, according to their last
//! heartbeats.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use jiff::Timestamp;
use maud::{Markup, html};
use orchestra_contracts::{Size, paths, worker::Worker};

use super::{
    layout::Page,
    text::{Line, age, bytes},
    visitor::Visitor,
};
use crate::{
    http::{error::ApiError, extract::NoQuery},
    service::Service,
};

/// One image, summed over all workers.
#[derive(Default)]
struct Everywhere {
    /// The workers whose engine has it. `unbuilt` are those with only its folder.
    built: Vec<String>,
    unbuilt: Vec<String>,
    size: Option<Size>,
    last_used: Option<Timestamp>,
    ready: u64,
}

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let workers = service.workers().await?;
    let images = gathered(workers.iter().filter(|worker| worker.online));
    let body = html! {
        h1 { "Images" }
        section #images data-live {
            @if images.is_empty() {
                div.empty {
                    p { "No online worker has reported an image." }
                    p.muted { "An image is a folder with a Dockerfile: see images/README.md." }
                }
            } @else { (table(&images)) }
        }
        p.muted { "An image that is not built yet is built for the first job that uses it. Workers look once a minute. "
            code { "orchestra images build NAME" } " builds one in advance." }
    };
    Ok(Page::new(visitor, paths::IMAGES_PAGE, "Images").show(&body))
}

fn gathered<'a>(workers: impl Iterator<Item = &'a Worker>) -> BTreeMap<String, Everywhere> {
    let mut all = BTreeMap::<String, Everywhere>::new();
    for worker in workers {
        let name = worker.name.to_string();
        let told = worker.stats.iter().flat_map(|stats| &stats.images);
        for image in told.clone() {
            let one = all.entry(image.name.clone()).or_default();
            if image.built { &mut one.built } else { &mut one.unbuilt }.push(name.clone());
            one.size = one.size.max(image.size);
            one.last_used = one.last_used.max(image.last_used);
            one.ready += image.ready;
        }
        // A worker that just started has reported only its image folders.
        let offered = worker.registration.offer.iter().flat_map(|offer| &offer.images);
        for image in offered.filter(|image| !told.clone().any(|it| it.name == **image)) {
            all.entry(image.clone()).or_default().unbuilt.push(name.clone());
        }
    }
    all
}

fn table(images: &BTreeMap<String, Everywhere>) -> Markup {
    html! {
        table.rows {
            thead { tr {
                th scope="col" { "Image" }
                th scope="col" { "Built on" }
                th scope="col" { "Not built on" }
                th scope="col" { "Size" }
                th scope="col" { "Warm sandboxes" }
                th scope="col" { "Last used" }
            } }
            tbody { @for (name, image) in images {
                tr {
                    td { code { (Line(name)) } }
                    td.what data-name="Built on" { (Line(&image.built.join(", "))) }
                    td.what data-name="Not built on" { (Line(&image.unbuilt.join(", "))) }
                    td.number.what data-name="Size" { @if let Some(size) = image.size { (bytes(size)) } }
                    td.number.what data-name="Warm sandboxes" { (image.ready) }
                    td.time.what data-name="Last used" { @if let Some(at) = image.last_used { (age(at)) } }
                }
            } }
        }
    }
}

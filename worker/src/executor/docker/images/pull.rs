//! Pulls one image from a registry, if the operator's patterns allow it.
//!
//! An image that the engine already has under that reference is used as it is, as `docker run`
//! does. A reference that must not move names a digest. Every failure here may be temporary.

use std::{collections::HashMap, time::Duration};

use bollard::{
    Docker, errors::Error, models::CreateImageInfo, query_parameters::CreateImageOptionsBuilder,
};
use futures::StreamExt as _;
use orchestra_contracts::{ImageReference, Span};
use tokio::time::{Instant, timeout};

use super::{ImageError, ReadyImage, journal::Journal, logins};
use crate::config::ImagesConfig;

/// The image of `wanted`, pulled if the engine does not have it.
pub(super) async fn ensure(
    docker: &Docker,
    wanted: &ImageReference,
    rules: &ImagesConfig,
    journal: &Journal,
) -> Result<ReadyImage, ImageError> {
    if let Some(image) = find(docker, wanted).await? {
        tell(&image, journal);
        return Ok(image);
    }
    pull(docker, wanted, rules, journal).await?;
    let image = find(docker, wanted).await?.ok_or_else(|| {
        ImageError::because(format!("{wanted} was pulled and is already gone again"))
    })?;
    tell(&image, journal);
    Ok(image)
}

fn tell(image: &ReadyImage, journal: &Journal) {
    let which = image.digest.as_ref().unwrap_or(&image.id);
    journal.say(format!("image {}: {which}", image.reference));
}

async fn find(docker: &Docker, wanted: &ImageReference) -> Result<Option<ReadyImage>, ImageError> {
    let reference = in_engine(wanted);
    match docker.inspect_image(&reference).await {
        Ok(image) => {
            let digests = image.repo_digests.unwrap_or_default();
            let digest = wanted.digest().map(str::to_owned).or_else(|| digest_of(wanted, &digests));
            let id = image.id.unwrap_or(reference);
            Ok(Some(ReadyImage { reference: wanted.to_string(), id, digest }))
        }
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(err) => Err(ImageError::engine(&err)),
    }
}

/// If a reference has both a digest and a tag, the digest counts.
fn in_engine(wanted: &ImageReference) -> String {
    match wanted.digest() {
        Some(digest) => format!("{}@{digest}", wanted.name()),
        None => wanted.to_string(),
    }
}

/// Engines leave out the parts that they add by default: `python@sha256:...`.
fn digest_of(wanted: &ImageReference, digests: &[String]) -> Option<String> {
    let name = wanted.name();
    let short = name.strip_prefix("docker.io/").unwrap_or(&name);
    let shortest = short.strip_prefix("library/").unwrap_or(short);
    let of_it = |entry: &&String| {
        entry.split_once('@').is_some_and(|(it, _)| [&name[..], short, shortest].contains(&it))
    };
    let (_, digest) = digests.iter().find(of_it)?.split_once('@')?;
    Some(digest.to_owned())
}

/// When this future is dropped, the engine ends the pull.
async fn pull(
    docker: &Docker,
    wanted: &ImageReference,
    rules: &ImagesConfig,
    journal: &Journal,
) -> Result<(), ImageError> {
    let failed = |why: &str| ImageError::because(format!("{wanted} could not be pulled: {why}"));
    let login = logins::of(rules.registry_logins().as_deref(), wanted.registry()).await;
    let login = login.map_err(|why| failed(&why))?;
    journal.say(format!("image {wanted}: pulling"));
    let which = wanted.digest().or(wanted.tag()).unwrap_or("latest");
    let options = CreateImageOptionsBuilder::new().from_image(&wanted.name()).tag(which).build();
    let mut events = docker.create_image(Some(options), None, login);
    let mut layers = Layers::default();
    let (began, total, idle) = (Instant::now(), rules.pull_timeout.0, rules.pull_idle.0);
    loop {
        let left = total.saturating_sub(began.elapsed());
        match timeout(left.min(idle), events.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(event))) => {
                layers.note(event);
                if let Some(percent) = layers.percent() {
                    let so_many = layers.0.len();
                    journal.mention(|| {
                        format!("image {wanted}: pulling, {percent} % of {so_many} layers")
                    });
                }
            }
            Ok(Some(Err(err))) => return Err(failed(&said(&err))),
            Err(_) => {
                let (after, what, setting) = if left <= idle {
                    (total, "in all", "ORCHESTRA_PULL_TIMEOUT")
                } else {
                    (idle, "without a word", "ORCHESTRA_PULL_IDLE")
                };
                return Err(failed(&gave_up(after, what, setting)));
            }
        }
    }
    journal.say(format!("image {wanted}: pulled"));
    Ok(())
}

fn gave_up(after: Duration, what: &str, setting: &str) -> String {
    format!("given up after {} {what} ({setting})", Span(after))
}

fn said(err: &Error) -> String {
    match err {
        Error::DockerStreamError { error: message }
        | Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        err => err.to_string(),
    }
}

/// By layer: the bytes received, and the total.
#[derive(Debug, Default)]
struct Layers(HashMap<String, (u64, u64)>);

impl Layers {
    fn note(&mut self, event: CreateImageInfo) {
        let (Some(layer), Some(status)) = (event.id, event.status) else { return };
        let detail = event.progress_detail.unwrap_or_default();
        let number = |it: Option<i64>| it.and_then(|it| u64::try_from(it).ok()).unwrap_or(0);
        match status.as_str() {
            "Pulling fs layer" | "Waiting" => {
                self.0.entry(layer).or_default();
            }
            "Downloading" => {
                let (came, all) = (number(detail.current), number(detail.total));
                self.0.insert(layer, (came.min(all), all));
            }
            "Download complete" | "Pull complete" | "Already exists" => {
                let (came, all) = self.0.entry(layer).or_default();
                *all = (*all).max(1);
                *came = *all;
            }
            _ => {}
        }
    }

    /// All layers count the same, because the sizes of waiting layers are unknown.
    fn percent(&self) -> Option<u64> {
        let part = |(came, all): &(u64, u64)| if *all == 0 { 0 } else { came * 100 / all };
        let layers = self.0.len() as u64;
        (layers > 0).then(|| self.0.values().map(part).sum::<u64>() / layers)
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn event(layer: &str, status: &str, current: i64, total: i64) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(layer.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: Some(ProgressDetail { current: Some(current), total: Some(total) }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn progress_counts_the_layers_that_wait() {
        let mut layers = Layers::default();
        layers.note(event("latest", "Pulling from library/x", 0, 0));
        assert_eq!(layers.percent(), None);
        layers.note(event("a", "Pulling fs layer", 0, 0));
        layers.note(event("b", "Waiting", 0, 0));
        assert_eq!(layers.percent(), Some(0));
        layers.note(event("a", "Downloading", 30, 50));
        assert_eq!(layers.percent(), Some(30));
        layers.note(event("a", "Download complete", 0, 0));
        layers.note(event("b", "Already exists", 0, 0));
        layers.note(event("a", "Extracting", 1, 50));
        assert_eq!(layers.percent(), Some(100));
    }

    #[test]
    fn the_digest_is_the_repositorys_own() {
        let wanted = "python:3.12".parse().unwrap();
        let digests = ["me/python@sha256:1".to_owned(), "python@sha256:2".to_owned()];
        assert_eq!(digest_of(&wanted, &digests).as_deref(), Some("sha256:2"));
        let wanted = "ghcr.io/me/python".parse().unwrap();
        assert_eq!(digest_of(&wanted, &digests), None);
    }
}

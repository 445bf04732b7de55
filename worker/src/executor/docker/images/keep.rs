//! Images that were built here and no longer match their folder: when each was last used, and which
//! to remove. Pulled images belong to the operator and are left alone.
//!
//! The engine stores the last use: giving an image a tag that it already has only changes its
//! `LastTagTime`. So the time outlasts every worker, all workers of one engine share it, and
//! workers still have no state of their own.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{
    Docker,
    errors::Error,
    models::ImageSummary,
    query_parameters::{
        ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions,
        TagImageOptionsBuilder,
    },
};
use jiff::Timestamp;
use orchestra_contracts::Span;
use tokio::time::Instant;

use super::{ImageError, LABEL, ReadyImage, StaleImage};

/// Minimum pause between two notes of a use. Each note makes the engine write.
const NOTE: Duration = Duration::from_mins(10);

/// An image used within this time always stays, because a job may be about to start from it. Longer
/// than [`NOTE`], and than the time from finding an image to creating its container.
const FRESH: Duration = Duration::from_hours(1);

/// The uses that this process has noted lately. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses(Arc<Mutex<HashMap<String, Instant>>>);

impl Uses {
    /// Makes the engine store that the image was used now.
    pub(super) async fn note(&self, docker: &Docker, image: &ReadyImage) {
        if !self.is_due(&image.reference) {
            return;
        }
        let Some((repository, tag)) = image.reference.split_once(':') else { return };
        let options = TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
        if let Err(error) = docker.tag_image(&image.id, Some(options)).await {
            // At worst it is removed too early, and built again.
            tracing::debug!("the last use of {} could not be noted: {error}", image.reference);
        }
    }

    fn is_due(&self, reference: &str) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.retain(|_, at| at.elapsed() < NOTE);
        !noted.contains_key(reference)
            && noted.insert(reference.to_owned(), Instant::now()).is_none()
    }
}

/// How long stale images are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// Time since the last use.
    pub(super) time: Span,
    /// How many per folder.
    pub(super) count: usize,
}

/// All images on the engine that were built here.
pub(super) async fn built(docker: &Docker) -> Result<Vec<ImageSummary>, ImageError> {
    let filters = HashMap::from([("label", vec![LABEL])]);
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    docker.list_images(Some(options)).await.map_err(|err| ImageError::engine(&err))
}

/// The images among `built` that no folder describes any more, ordered by name and then by last
/// use, newest first. `current` holds the references of the folders as they are.
pub(super) async fn stale(
    docker: &Docker,
    built: &[ImageSummary],
    current: &HashSet<String>,
) -> Result<Vec<StaleImage>, ImageError> {
    let used = in_containers(docker).await?;
    let mut all = Vec::new();
    for image in built {
        let tags = image.repo_tags.iter().filter(|tag| !tag.starts_with('<'));
        let (now, before): (Vec<_>, Vec<_>) = tags.partition(|tag| current.contains(*tag));
        let references = match (&now[..], &before[..]) {
            // Another build of the same folder has taken its tag.
            ([], []) => vec![image.id.clone()],
            _ => before.into_iter().cloned().collect(),
        };
        if references.is_empty() {
            continue;
        }
        let last_used = last_used(docker, image).await?;
        all.extend(references.into_iter().map(|reference| StaleImage {
            name: image.labels.get(LABEL).cloned().unwrap_or_default(),
            reference,
            size: u64::try_from(image.size).unwrap_or_default(),
            last_used,
            // An image with a container stays, even under another tag.
            in_use: used.contains(&image.id),
        }));
    }
    all.sort_by(|a, b| (&a.name, b.last_used).cmp(&(&b.name, a.last_used)));
    Ok(all)
}

/// When an image was last used, or else built.
pub(super) async fn last_used(
    docker: &Docker,
    image: &ImageSummary,
) -> Result<Timestamp, ImageError> {
    let created = Timestamp::from_second(image.created).unwrap_or_default();
    let tagged = match docker.inspect_image(&image.id).await {
        Ok(found) => found.metadata.and_then(|it| it.last_tag_time),
        // The image may have been removed meanwhile.
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => None,
        Err(err) => return Err(ImageError::engine(&err)),
    };
    Ok(tagged.and_then(|time| time.parse().ok()).unwrap_or(created).max(created))
}

/// The image ids of all containers, running or not.
async fn in_containers(docker: &Docker) -> Result<HashSet<String>, ImageError> {
    let options = ListContainersOptionsBuilder::new().all(true).build();
    let list = docker.list_containers(Some(options)).await;
    let list = list.map_err(|err| ImageError::engine(&err))?;
    Ok(list.into_iter().filter_map(|container| container.image_id).collect())
}

/// The stale images that have been kept long enough at `now`.
pub(super) fn outdated(stale: &[StaleImage], keep: Keep, now: Timestamp) -> Vec<&StaleImage> {
    let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
    let mut outdated = Vec::new();
    for image in stale {
        let place = kept.entry(&image.name).or_default();
        *place += 1;
        // Negative if a clock was set back.
        let unused = Duration::try_from(now.duration_since(image.last_used)).unwrap_or_default();
        let enough = unused >= keep.time.0 || *place > keep.count;
        if enough && unused >= FRESH && !image.in_use {
            outdated.push(image);
        }
    }
    outdated
}

/// Removes one reference, and with its last reference the image. `false` if it was already gone.
/// Fails if a container uses the image.
pub(super) async fn remove(docker: &Docker, reference: &str) -> Result<bool, ImageError> {
    match docker.remove_image(reference, None::<RemoveImageOptions>, None).await {
        Ok(_) => Ok(true),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(Error::DockerResponseServerError { status_code: 409, .. }) => {
            Err(ImageError::because(format!("{reference} is in use by a container")))
        }
        Err(err) => Err(ImageError::engine(&err)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn image(name: &str, reference: &str, hours_ago: i64, in_use: bool) -> StaleImage {
        let last_used = Timestamp::from_second(1_000 * HOUR - hours_ago * HOUR).unwrap();
        let (name, reference) = (name.to_owned(), reference.to_owned());
        StaleImage { name, reference, size: 1, last_used, in_use }
    }

    fn outdated_of(stale: &[StaleImage], days: u64, count: usize) -> Vec<&str> {
        let keep = Keep { time: Span(Duration::from_hours(24 * days)), count };
        let now = Timestamp::from_second(1_000 * HOUR).unwrap();
        outdated(stale, keep, now).into_iter().map(|image| image.reference.as_str()).collect()
    }

    #[test]
    fn what_is_old_goes_and_what_is_one_too_many_but_nothing_that_is_used() {
        let stale = [
            image("a", "a:now", 0, false),
            image("a", "a:2h", 2, false),
            image("a", "a:3d", 3 * 24, false),
            image("a", "a:4d", 4 * 24, true),
            image("b", "b:2h", 2, false),
            image("b", "b:5d", 5 * 24, false),
        ];
        assert_eq!(outdated_of(&stale, 10, 9), <[&str; 0]>::default());
        assert_eq!(outdated_of(&stale, 3, 9), ["a:3d", "b:5d"]);
        assert_eq!(outdated_of(&stale, 10, 1), ["a:2h", "a:3d", "b:5d"]);
        // A job may be about to start from the first one.
        assert_eq!(outdated_of(&stale, 0, 0), ["a:2h", "a:3d", "b:2h", "b:5d"]);
    }

    #[test]
    fn a_clock_that_was_put_back_removes_nothing() {
        let stale = [image("a", "a:later", -2, false)];
        assert_eq!(outdated_of(&stale, 0, 0), <[&str; 0]>::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_use_is_noted_now_and_then() {
        let uses = Uses::default();
        assert!(uses.is_due("orchestra/a:1"));
        assert!(!uses.is_due("orchestra/a:1"));
        assert!(uses.is_due("orchestra/a:2"));
        tokio::time::advance(NOTE).await;
        assert!(uses.is_due("orchestra/a:1"));
    }
}

//! The operations that remove images: stale ones by the operator's rules, or ones that a person
//! names.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use orchestra_contracts::Span;
use tokio::time::sleep;

use super::{
    ImageError, Images, LABEL, StaleImage,
    keep::{self, Keep},
};
use crate::clock;

/// Time from a worker's start to its first check.
const FIRST_LOOK: Duration = Duration::from_mins(10);
const LOOK: Duration = Duration::from_hours(1);

impl Images {
    /// Images that were built here and no longer match their folder, ordered by name, then by last
    /// use, newest first.
    pub async fn stale(&self) -> Result<Vec<StaleImage>, ImageError> {
        let built = keep::built(&self.docker).await?;
        let mut current = HashSet::new();
        for name in self.names().await? {
            current.insert(self.reference(&name).await?);
        }
        keep::stale(&self.docker, &built, &current).await
    }

    /// The stale images that would be removed at `now`. `of` limits them to these folders, unless
    /// it is empty. `older` replaces the keep time that the operator has set.
    pub async fn outdated(
        &self,
        of: &[String],
        older: Option<Span>,
        now: Timestamp,
    ) -> Result<Vec<StaleImage>, ImageError> {
        let mut stale = self.stale().await?;
        stale.retain(|image| of.is_empty() || of.contains(&image.name));
        let time = older.unwrap_or(self.rules.keep_images);
        let keep = Keep { time, count: self.rules.keep_image_count as usize };
        Ok(keep::outdated(&stale, keep, now).into_iter().cloned().collect())
    }

    /// Removes one of them, unless a container uses it. Answers whether it was there.
    pub async fn discard(&self, image: &StaleImage) -> Result<bool, ImageError> {
        keep::remove(&self.docker, &image.reference).await
    }

    /// Removes the images built from the folder `wanted`, or the one image with that reference.
    /// Returns the references that were removed.
    pub async fn remove(&self, wanted: &str) -> Result<Vec<String>, ImageError> {
        let built = keep::built(&self.docker).await?;
        let of_folder =
            built.iter().filter(|image| image.labels.get(LABEL).is_some_and(|name| name == wanted));
        let mut all: Vec<&String> = of_folder
            .flat_map(|image| {
                let tags: Vec<_> =
                    image.repo_tags.iter().filter(|tag| !tag.starts_with('<')).collect();
                if tags.is_empty() { vec![&image.id] } else { tags }
            })
            .collect();
        let named = built.iter().flat_map(|image| image.repo_tags.iter().chain([&image.id]));
        all.extend(named.filter(|reference| *reference == wanted));
        if all.is_empty() {
            return Err(ImageError::because(format!(
                "nothing that was built here is called {wanted}; `orchestra images ls` shows what is"
            )));
        }
        let mut removed = Vec::new();
        for reference in all {
            if keep::remove(&self.docker, reference).await? {
                removed.push(reference.clone());
            }
        }
        Ok(removed)
    }

    /// Removes outdated images at intervals, until this future is dropped.
    pub(crate) async fn prune_often(&self) {
        sleep(FIRST_LOOK).await;
        loop {
            self.prune().await;
            sleep(LOOK).await;
        }
    }

    async fn prune(&self) {
        let outdated = match self.outdated(&[], None, clock::now()).await {
            Ok(outdated) => outdated,
            Err(error) => return tracing::debug!("could not look for old images: {error}"),
        };
        for image in outdated {
            match self.discard(&image).await {
                Ok(true) => tracing::info!(
                    "removed the image {}, last used {}",
                    image.reference,
                    image.last_used
                ),
                Ok(false) => {}
                Err(error) => tracing::debug!("an old image stays: {error}"),
            }
        }
    }
}

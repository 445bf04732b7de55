//! The verbs that remove images: what is stale, by the operator's rules, or what
//! somebody names.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use orchestra_contracts::Span;
use tokio::time::sleep;

use super::{
    ImageError, Images, LABEL, StaleImage,
    keep::{self, Keep},
};
use crate::clock;

/// From the start of a worker to its first look, and between two of them.
const FIRST_LOOK: Duration = Duration::from_mins(10);
const LOOK: Duration = Duration::from_hours(1);

impl Images {
    /// What was built here and is not what its folder describes any more, by name, the
    /// last used first.
    pub async fn stale(&self) -> Result<Vec<StaleImage>, ImageError> {
        let built = keep::built(&self.docker).await?;
        let mut current = HashSet::new();
        for name in self.names().await? {
            current.insert(self.reference(&name).await?);
        }
        keep::stale(&self.docker, &built, &current).await
    }

    /// What of that would go at `now`: of the folders `of`, or of all where it is empty;
    /// `older` in place of the time that the operator has set.
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

    /// Takes one of them away, unless a container is made of it; whether it was there.
    pub async fn discard(&self, image: &StaleImage) -> Result<bool, ImageError> {
        keep::remove(&self.docker, &image.reference).await
    }

    /// Removes what was built of the folder `wanted`, or the one image with that
    /// reference, and answers with the references that are gone.
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

    /// Removes what is outdated, every now and then, until it is dropped.
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

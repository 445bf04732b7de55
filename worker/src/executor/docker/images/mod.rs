//! Job images: from a folder under `images/` to an image on the engine.
//!
//! A job says `"image": "gcc"`; [`Images::ensure`] returns the image that `images/gcc` describes,
//! and builds it first if the engine does not have it. It is built once, however many jobs wait for
//! it, and all of them see the progress. This module never runs a job.
//!
//! * `catalog` lists the folders, `walk` reads one, `recipe` is its content;
//! * `build` drives the engine's builder, `transcript` parses its output;
//! * `pull` pulls an image from a registry, `logins` and `helper` find the credentials for it;
//! * `base` finds or makes the image that the others start from, with `bootstrap` if no registry
//!   answers;
//! * `verdict` decides whether a failed build is the folder's fault or, say, the network's;
//! * `keep` removes images that no folder describes any more, by their last use;
//! * `known` caches what was found, until the engine reports a change;
//! * `journal` passes the progress on to everyone who waits, `lock` keeps other workers of this
//!   machine from building the same image meanwhile.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::Docker;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use orchestra_contracts::{ImagePattern, ImageReference, Span};
use tokio::sync::mpsc;

use catalog::Catalog;
use journal::Journal;
use keep::Uses;
use known::Known;
use recipe::Recipe;
use verdict::Broken;

use crate::config::ImagesConfig;

pub use transcript::step_of;
pub use types::{ImageError, ImageStatus, ReadyImage, StaleImage};

mod base;
mod bootstrap;
mod build;
mod builtin;
mod catalog;
mod helper;
mod journal;
mod keep;
mod known;
mod lock;
mod logins;
mod pull;
mod recipe;
mod stale;
mod transcript;
mod types;
mod verdict;
mod walk;

#[cfg(test)]
pub(super) mod tests;

/// Time on top of the build itself: for the base image, and for another worker that builds it
/// first.
const BEFORE_BUILD: Duration = Duration::from_mins(10);

/// A label on every image built here. Its value is the folder's name.
pub(crate) const LABEL: &str = "orchestra.image";

/// The job images of one engine. Clones share their builds.
#[derive(Clone)]
pub struct Images {
    docker: Docker,
    catalog: Catalog,
    rules: ImagesConfig,
    broken: Broken,
    uses: Uses,
    known: Known,
    flights: Arc<Mutex<HashMap<String, Flight>>>,
}

type Building = BoxFuture<'static, Result<ReadyImage, ImageError>>;

/// A build or a pull under way. It lives as long as somebody waits for it: the waiters drive it,
/// rather than a task, so it ends when the last waiter goes.
struct Flight {
    building: WeakShared<Building>,
    journal: Journal,
}

impl Images {
    /// `folder` holds one folder per image. It need not exist.
    pub(crate) fn new(docker: Docker, folder: PathBuf, rules: ImagesConfig) -> Self {
        // During a build or an import the engine answers only when it has something to report.
        let docker = docker.with_timeout(longest(&rules));
        let catalog = Catalog::new(folder);
        let (broken, uses, known, flights) = Default::default();
        Self { docker, catalog, rules, broken, uses, known, flights }
    }

    /// The reference that `images/<name>`, as it is now, is built as. An edit of the folder changes
    /// it. This does not call the engine.
    pub async fn reference(&self, name: &str) -> Result<String, ImageError> {
        Ok(self.catalog.read(name).await?.reference())
    }

    /// The image of `images/<name>` as it is now, if it is already built.
    pub(crate) async fn built(&self, name: &str) -> Result<Option<ReadyImage>, ImageError> {
        find(&self.docker, &self.reference(name).await?).await
    }

    /// Follows the engine's image events until this future is dropped. Use this only with an engine
    /// on this machine: only there does a broken stream show at once.
    pub(crate) async fn listen(&self) {
        self.known.watch(&self.docker).await;
    }

    /// The registry images that the operator allows.
    pub(crate) fn allowed(&self) -> BTreeSet<ImagePattern> {
        self.rules.allow_images.iter().cloned().collect()
    }

    /// The image of `images/<name>`, built if needed; or an image from a registry, pulled if needed
    /// and if the operator allows it. `progress` receives lines for people, from the first one even
    /// if the build is already under way; a closed receiver is no error. Dropping the future only
    /// stops waiting.
    pub async fn ensure(
        &self,
        name: &str,
        progress: mpsc::Sender<String>,
    ) -> Result<ReadyImage, ImageError> {
        if ImageReference::is_meant(name) {
            return self.pulled(name, progress).await;
        }
        let recipe = self.catalog.read(name).await?;
        let image = match self.known.image(&recipe.reference()) {
            Some(image) => image,
            None => self.wait_for(recipe, Cache::Use, progress).await?,
        };
        self.uses.note(&self.docker, &image).await;
        Ok(image)
    }

    /// Builds the image again from the first step, to get newer packages under the same reference;
    /// for `orchestra images build`.
    pub async fn build(
        &self,
        name: &str,
        progress: mpsc::Sender<String>,
    ) -> Result<ReadyImage, ImageError> {
        self.wait_for(self.catalog.read(name).await?, Cache::Ignore, progress).await
    }

    /// The names of all image folders, sorted. This does not call the engine.
    pub async fn names(&self) -> Result<Vec<String>, ImageError> {
        self.catalog.names().await
    }

    /// All image folders, by name.
    pub async fn list(&self) -> Result<Vec<ImageStatus>, ImageError> {
        let present = keep::built(&self.docker).await?;
        let mut all = Vec::new();
        for name in self.names().await? {
            let reference = self.reference(&name).await?;
            let image = present.iter().find(|image| image.repo_tags.contains(&reference));
            let size = image.and_then(|image| u64::try_from(image.size).ok());
            let last_used = match image {
                Some(image) => Some(keep::last_used(&self.docker, image).await?),
                None => None,
            };
            let built = image.is_some();
            all.push(ImageStatus { name, reference, built, size, last_used });
        }
        Ok(all)
    }

    async fn wait_for(
        &self,
        recipe: Recipe,
        cache: Cache,
        progress: mpsc::Sender<String>,
    ) -> Result<ReadyImage, ImageError> {
        let key = format!("{} {cache:?}", recipe.reference());
        let build = |journal| self.clone().provide(recipe, cache, journal).boxed();
        let (building, journal) = self.join(key, build);
        journal.forward_until(building, progress).await
    }

    async fn pulled(
        &self,
        name: &str,
        progress: mpsc::Sender<String>,
    ) -> Result<ReadyImage, ImageError> {
        let wanted = name.parse::<ImageReference>().ok();
        let is_allowed =
            |it: &ImageReference| self.rules.allow_images.iter().any(|rule| rule.allows(it));
        let Some(wanted) = wanted.filter(is_allowed) else {
            return Err(ImageError::NotAllowed(name.to_owned()));
        };
        let pull = |journal: Journal| {
            let (docker, rules, wanted) = (self.docker.clone(), self.rules.clone(), wanted.clone());
            async move { pull::ensure(&docker, &wanted, &rules, &journal).await }.boxed()
        };
        let (pulling, journal) = self.join(wanted.to_string(), pull);
        journal.forward_until(pulling, progress).await
    }

    /// Joins the flight for this key, or starts a new one.
    fn join(
        &self,
        key: String,
        begin: impl FnOnce(Journal) -> Building,
    ) -> (Shared<Building>, Journal) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.building.upgrade().is_some());
        if let Some(flight) = flights.get(&key)
            && let Some(building) = flight.building.upgrade()
        {
            return (building, flight.journal.clone());
        }
        let journal = Journal::new();
        let building = begin(journal.clone()).shared();
        if let Some(weak) = building.downgrade() {
            flights.insert(key, Flight { building: weak, journal: journal.clone() });
        }
        (building, journal)
    }

    async fn provide(
        self,
        recipe: Recipe,
        cache: Cache,
        journal: Journal,
    ) -> Result<ReadyImage, ImageError> {
        let reference = recipe.reference();
        let asked = self.known.asked();
        if cache == Cache::Use
            && let Some(image) = find(&self.docker, &reference).await?
        {
            self.known.found(asked, &image);
            return Ok(image);
        }
        if cache == Cache::Use
            && let Some((reason, ago)) = self.broken.reason(&reference)
        {
            journal.say(held_against(recipe.name(), ago));
            return Err(ImageError::Broken { reason });
        }
        let limit = longest(&self.rules);
        let made = tokio::time::timeout(limit, self.make(&recipe, cache, &journal)).await;
        let made = made.unwrap_or_else(|_| Err(too_long(recipe.name(), limit)));
        if let Err(ImageError::Broken { reason }) = &made {
            self.broken.note(&reference, reason);
        }
        made?;
        find(&self.docker, &reference).await?.ok_or_else(|| {
            ImageError::because(format!("{reference} was built and is already gone again"))
        })
    }

    async fn make(
        &self,
        recipe: &Recipe,
        cache: Cache,
        journal: &Journal,
    ) -> Result<(), ImageError> {
        let name = recipe.name();
        let waiting = || journal.mention(|| format!("image {name}: another worker builds it"));
        let _alone = lock::alone(&self.catalog.home(name), waiting).await;
        if cache == Cache::Use && find(&self.docker, &recipe.reference()).await?.is_some() {
            return Ok(());
        }
        let base = if recipe.needs_base() {
            let waiting = || journal.mention(|| "base image: another worker makes it".to_owned());
            let _alone = lock::alone(self.catalog.folder(), waiting).await;
            Some(base::ensure(&self.docker, journal).await?)
        } else {
            None
        };
        build::build(&self.docker, recipe, base, cache, &self.rules, journal).await
    }
}

/// The time limit of a build with everything that comes before it.
fn longest(rules: &ImagesConfig) -> Duration {
    rules.build_timeout.0.saturating_add(BEFORE_BUILD)
}

fn too_long(name: &str, limit: Duration) -> ImageError {
    let limit = Span(limit);
    ImageError::because(format!("image {name} was given up after {limit} of waiting for it"))
}

fn held_against(name: &str, ago: Duration) -> String {
    let ago = Span::from_secs(ago.as_secs());
    format!(
        "image {name}: its build failed {ago} ago, and its folder has not changed since; \
         `orchestra images build {name}` tries again"
    )
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

/// Whether an image that the engine already has may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    Use,
    Ignore,
}

async fn find(docker: &Docker, reference: &str) -> Result<Option<ReadyImage>, ImageError> {
    match docker.inspect_image(reference).await {
        Ok(image) => {
            let id = image.id.unwrap_or_else(|| reference.to_owned());
            Ok(Some(ReadyImage { reference: reference.to_owned(), id, digest: None }))
        }
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(err) => Err(ImageError::engine(&err)),
    }
}

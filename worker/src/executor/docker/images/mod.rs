//! Job images: from a folder under `images/` to an image on the engine.
//!
//! A job says `"image": "gcc"`; [`Images::ensure`] answers with the image that
//! `images/gcc` describes, and builds it first where the engine has none. However
//! many jobs wait for one image, it is built once, and all of them hear how far
//! it is. This module never runs a job and never removes an image.
//!
//! * `catalog` knows the folders, `walk` reads one, `recipe` is what it read;
//! * `build` drives the engine's builder, `transcript` reads what it says;
//! * `base` finds or makes the image that the others start from, with `bootstrap`
//!   where no registry answers;
//! * `journal` passes the progress on to everyone who waits, `lock` keeps other
//!   workers of this machine from building the same meanwhile.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{Docker, query_parameters::ListImagesOptionsBuilder};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::sync::mpsc;

use catalog::Catalog;
use journal::Journal;
use recipe::Recipe;

pub use types::{ImageError, ImageStatus, ReadyImage};

mod base;
mod bootstrap;
mod build;
mod catalog;
mod journal;
mod lock;
mod recipe;
mod transcript;
mod types;
mod walk;

#[cfg(test)]
mod tests;

/// A build that has not ended by then has hung. Large toolchains over a slow
/// line take some ten minutes.
const BUILD_LIMIT: Duration = Duration::from_mins(20);

/// On every image made here; its value is the folder's name.
pub(crate) const LABEL: &str = "orchestra.image";

/// The job images of one engine. Clones share their builds.
#[derive(Clone)]
pub struct Images {
    docker: Docker,
    catalog: Catalog,
    flights: Arc<Mutex<HashMap<String, Flight>>>,
}

type Building = BoxFuture<'static, Result<ReadyImage, ImageError>>;

/// A build under way. It lives as long as somebody waits for it: the waiters
/// drive it, no task does, so when the last one goes, the build ends with it.
struct Flight {
    building: WeakShared<Building>,
    journal: Journal,
}

impl Images {
    /// `folder` holds a folder for each image; it need not exist.
    pub(crate) fn new(docker: Docker, folder: PathBuf) -> Self {
        // The engine answers a build or an import only when it has something to say.
        let docker = docker.with_timeout(BUILD_LIMIT);
        let catalog = Catalog::new(folder);
        Self { docker, catalog, flights: Arc::default() }
    }

    /// What `images/<name>` is built to as it is now, without asking the engine.
    /// An edit of the folder changes it.
    pub async fn reference(&self, name: &str) -> Result<String, ImageError> {
        Ok(self.catalog.read(name).await?.reference())
    }

    /// The image of `images/<name>`, built if need be. Lines for people go to
    /// `progress`, from the first on also when the build is already under way;
    /// a receiver that is gone is no error. Dropping the future gives up waiting.
    pub async fn ensure(
        &self,
        name: &str,
        progress: mpsc::Sender<String>,
    ) -> Result<ReadyImage, ImageError> {
        self.wait_for(name, Cache::Use, progress).await
    }

    /// Builds it again from the first step, for newer packages under the same
    /// reference; for `orchestra images build`.
    pub async fn build(
        &self,
        name: &str,
        progress: mpsc::Sender<String>,
    ) -> Result<ReadyImage, ImageError> {
        self.wait_for(name, Cache::Ignore, progress).await
    }

    /// All folders that are images, by name.
    pub async fn list(&self) -> Result<Vec<ImageStatus>, ImageError> {
        let filters = HashMap::from([("label", vec![LABEL])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let present =
            self.docker.list_images(Some(options)).await.map_err(|err| ImageError::engine(&err))?;
        let mut all = Vec::new();
        for name in self.catalog.names().await? {
            let reference = self.reference(&name).await?;
            let image = present.iter().find(|image| image.repo_tags.contains(&reference));
            let size = image.and_then(|image| u64::try_from(image.size).ok());
            all.push(ImageStatus { name, reference, built: image.is_some(), size });
        }
        Ok(all)
    }

    async fn wait_for(
        &self,
        name: &str,
        cache: Cache,
        progress: mpsc::Sender<String>,
    ) -> Result<ReadyImage, ImageError> {
        let recipe = self.catalog.read(name).await?;
        let (building, journal) = self.join(recipe, cache);
        journal.forward_until(building, progress).await
    }

    /// The flight that builds this recipe, or a new one.
    fn join(&self, recipe: Recipe, cache: Cache) -> (Shared<Building>, Journal) {
        let key = format!("{} {cache:?}", recipe.reference());
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.building.upgrade().is_some());
        if let Some(flight) = flights.get(&key)
            && let Some(building) = flight.building.upgrade()
        {
            return (building, flight.journal.clone());
        }
        let journal = Journal::new();
        let building = self.clone().provide(recipe, cache, journal.clone()).boxed().shared();
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
        if cache == Cache::Use
            && let Some(image) = find(&self.docker, &reference).await?
        {
            return Ok(image);
        }
        let made = tokio::time::timeout(BUILD_LIMIT, self.make(&recipe, cache, &journal));
        made.await.unwrap_or_else(|_| Err(too_long(recipe.name())))?;
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
        build::build(&self.docker, recipe, base, cache, journal).await
    }
}

fn too_long(name: &str) -> ImageError {
    let minutes = BUILD_LIMIT.as_secs() / 60;
    ImageError::because(format!("the build of image {name} was given up after {minutes} minutes"))
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

/// Whether what the engine has already may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    Use,
    Ignore,
}

async fn find(docker: &Docker, reference: &str) -> Result<Option<ReadyImage>, ImageError> {
    match docker.inspect_image(reference).await {
        Ok(image) => {
            let id = image.id.unwrap_or_else(|| reference.to_owned());
            Ok(Some(ReadyImage { reference: reference.to_owned(), id }))
        }
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(err) => Err(ImageError::engine(&err)),
    }
}

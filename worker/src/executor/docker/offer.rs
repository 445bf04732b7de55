//! What this worker offers to jobs, for the master: the operator's limits and the current
//! image folders. This makes no engine call.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use orchestra_contracts::{limits, worker::Offer};
use tokio::{sync::watch, time::sleep};

use super::images::Images;
use crate::config::{JobUser, SandboxConfig};

/// How often the images folder is read.
const LOOK: Duration = Duration::from_secs(1);

/// The offer of a worker that starts now.
pub(super) async fn of(
    sandbox: &SandboxConfig,
    user: JobUser,
    images: &Images,
) -> Arc<watch::Sender<Option<Offer>>> {
    let names = names(images).await.unwrap_or_default();
    let user = Some(user.to_string());
    let offer = Offer { images: names, references: images.allowed(), user, ..sandbox.offer() };
    Arc::new(watch::Sender::new(Some(offer)))
}

/// Keeps the offer's images in step with their folder, until this future is dropped.
pub(super) async fn watch_folders(images: &Images, offer: &watch::Sender<Option<Offer>>) {
    loop {
        sleep(LOOK).await;
        let Some(now) = names(images).await else { continue };
        offer.send_if_modified(|offer| {
            let changed = offer.as_mut().filter(|offer| offer.images != now);
            changed.map(|offer| offer.images = now).is_some()
        });
    }
}

/// `None` if the folder cannot be read; the caller then keeps the previous names.
async fn names(images: &Images) -> Option<BTreeSet<String>> {
    match images.names().await {
        Ok(names) => Some(names.into_iter().take(limits::OFFER_IMAGES).collect()),
        Err(error) => {
            tracing::debug!("could not look for image folders: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use bollard::{API_DEFAULT_VERSION, Docker};
    use clap::Parser;

    use super::*;
    use crate::config::ImagesConfig;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        sandbox: SandboxConfig,
    }

    fn add_image(folder: &Path, name: &str) {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("Dockerfile"), "FROM scratch").unwrap();
    }

    /// Works without any engine.
    #[tokio::test]
    async fn a_folder_that_appears_is_offered_and_one_that_goes_is_not() {
        let home = tempfile::tempdir().unwrap();
        let nowhere = home.path().join("engine.sock").display().to_string();
        let docker = Docker::connect_with_http(&nowhere, 1, API_DEFAULT_VERSION).unwrap();
        fs::create_dir(home.path().join("images")).unwrap();
        let images = Images::new(docker, home.path().join("images"), ImagesConfig::default());
        let arguments = ["program", "--max-memory", "1g", "--allow-network", "--runtime", "runsc"];
        let sandbox = Program::parse_from(arguments).sandbox;
        let offer = of(&sandbox, JobUser { uid: 7, gid: 8 }, &images).await;

        let first = offer.borrow().clone().unwrap();
        assert_eq!((first.images.len(), first.memory), (0, sandbox.max_memory));
        assert_eq!((first.user.as_deref(), first.runtime.as_deref()), (Some("7:8"), Some("runsc")));

        let mut seen = offer.subscribe();
        let mut next = async |expected: &[&str]| {
            tokio::select! {
                () = watch_folders(&images, &offer) => unreachable!("it never ends by itself"),
                changed = seen.changed() => changed.unwrap(),
            }
            let now = seen.borrow_and_update().clone().unwrap();
            assert!(now.images.iter().eq(expected), "{now:?}");
            assert_eq!(Offer { images: BTreeSet::new(), ..now }, first);
        };
        add_image(&home.path().join("images"), "gcc");
        next(&["gcc"]).await;
        add_image(&home.path().join("images"), "rust");
        next(&["gcc", "rust"]).await;
        fs::remove_dir_all(home.path().join("images/gcc")).unwrap();
        next(&["rust"]).await;
    }
}

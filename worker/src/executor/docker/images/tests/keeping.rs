//! Which built images are removed, and which stay.

use std::time::Duration;

use super::*;
use crate::clock;
use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptions},
};

const MARKED: &str = "ARG BASE\nFROM ${BASE}\nCOPY marker /marker\n";

impl Lab {
    async fn build(&self, mark: &str) -> ReadyImage {
        self.write("marker", mark);
        for _ in 0..5 {
            match self.ensure().await.0 {
                // Another test removed an image that this build took from the engine's cache.
                Err(error) if error.to_string().contains("failed to get digest") => {}
                built => return built.unwrap(),
            }
        }
        panic!("its cache is in trouble again and again");
    }

    async fn is_there(&self, image: &ReadyImage) -> bool {
        find(&self.docker, &image.reference).await.unwrap().is_some()
    }

    /// What would be removed after this many days and two hours.
    async fn outdated_in(&self, days: i32) -> Vec<String> {
        let of = [self.name.clone()];
        let now = clock::now() + Duration::from_hours(u64::try_from(days).unwrap() * 24 + 2);
        let all = self.images.outdated(&of, None, now).await.unwrap();
        all.into_iter().map(|image| image.reference).collect()
    }
}

#[tokio::test]
async fn an_old_image_goes_after_its_last_use_and_never_under_a_container() {
    let rules = ImagesConfig { keep_images: Span::from_secs(86_400), ..ImagesConfig::default() };
    with_rules(rules, MARKED, async |lab| {
        let (first, second) = (lab.build("one").await, lab.build("two").await);
        let third = lab.build("three").await;
        let references = [second.reference.clone(), first.reference.clone()];
        assert_eq!(lab.outdated_in(0).await, <[&str; 0]>::default());
        assert_eq!(lab.outdated_in(1).await, references, "the last used first");

        let name = format!("{}-user", lab.name);
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let image = Some(first.reference.clone());
        let cmd = Some(vec!["true".to_owned()]);
        let body = ContainerCreateBody { image, cmd, ..ContainerCreateBody::default() };
        lab.docker.create_container(Some(options), body).await.unwrap();
        let outdated = lab.outdated_in(1).await;
        // Even on explicit request: the engine itself refuses.
        let refused = lab.images.remove(&first.reference).await;
        lab.docker.remove_container(&name, None::<RemoveContainerOptions>).await.unwrap();
        assert_eq!(outdated, references[..1]);
        assert!(
            refused.as_ref().is_err_and(|error| error.to_string().contains("in use")),
            "{refused:?}"
        );
        assert!(lab.is_there(&first).await);

        let now = clock::now() + Duration::from_hours(26);
        for image in lab.images.outdated(std::slice::from_ref(&lab.name), None, now).await.unwrap()
        {
            assert!(lab.images.discard(&image).await.unwrap());
            assert!(!lab.images.discard(&image).await.unwrap(), "it is gone already");
        }
        let there = [lab.is_there(&first).await, lab.is_there(&second).await];
        assert_eq!((there, lab.is_there(&third).await), ([false, false], true));
    })
    .await;
}

#[tokio::test]
async fn a_use_counts_across_a_restart_of_the_worker() {
    with_lab(MARKED, async |lab| {
        let (first, second) = (lab.build("one").await, lab.build("two").await);
        lab.write("marker", "three");
        // The first is wanted again, by a worker that knows nothing of the one before.
        lab.write("marker", "one");
        let folder = lab.root.path().to_owned();
        let restarted = Images::new(lab.docker.clone(), folder.clone(), ImagesConfig::default());
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (image, lines) = heard(|progress| restarted.ensure(&lab.name, progress)).await;
        assert_eq!((image, lines), (Ok(first.clone()), vec![]), "it is there and is not built");
        lab.write("marker", "three");
        let again = Images::new(lab.docker.clone(), folder, ImagesConfig::default());
        let stale = again.stale().await.unwrap();
        let ours: Vec<_> = stale.iter().filter(|image| image.name == lab.name).collect();
        let references: Vec<_> = ours.iter().map(|image| &image.reference).collect();
        assert_eq!(references, [&first.reference, &second.reference], "{ours:?}");
        assert!(ours[0].last_used > ours[1].last_used, "{ours:?}");
    })
    .await;
}

#[tokio::test]
async fn so_many_are_kept_of_a_folder_and_one_that_lost_its_tag_is_stale() {
    let rules = ImagesConfig { keep_image_count: 1, ..ImagesConfig::default() };
    let dockerfile = "ARG BASE\nFROM ${BASE}\nCOPY marker /marker\nRUN cat /proc/uptime > /made\n";
    with_rules(rules, dockerfile, async |lab| {
        let (first, second) = (lab.build("one").await, lab.build("two").await);
        lab.build("three").await;
        assert_eq!(lab.outdated_in(0).await, std::slice::from_ref(&first.reference));
        // After a rebuild from the first step, the tag moves to the new image.
        lab.write("marker", "two");
        let (anew, _) = heard(|progress| lab.images.build(&lab.name, progress)).await;
        assert_ne!(anew.unwrap().id, second.id);
        let stale = lab.images.stale().await.unwrap();
        assert!(stale.iter().any(|image| image.reference == second.id), "{stale:?}");

        let removed = lab.images.remove(&lab.name).await.unwrap();
        assert!(removed.contains(&first.reference) && removed.contains(&second.id), "{removed:?}");
        assert!(!lab.is_there(&first).await);
        let unknown = lab.images.remove(&lab.name).await.unwrap_err().to_string();
        assert!(unknown.contains("orchestra images ls"), "{unknown}");
    })
    .await;
}

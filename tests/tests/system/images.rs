//! Job images are folders: made when a job wants one, made anew after an edit.

use std::{
    fs,
    path::{Path, PathBuf},
};

use orchestra_contracts::{JobStatus, Outcome};
use orchestra_tests::{Plan, engine, repository, unique_name};
use serde_json::json;

/// An image folder of a name that nobody else has. What was built of it goes when dropped.
struct Image {
    name: String,
    folder: PathBuf,
}

impl Image {
    fn new(images: &Path) -> Self {
        let name = unique_name("system-test-image");
        let folder = images.join(&name);
        fs::create_dir(&folder).expect("a new folder");
        Self { name, folder }
    }

    fn write(&self, mark: &str) {
        let dockerfile =
            format!("ARG BASE=debian:bookworm-slim\nFROM ${{BASE}}\nRUN echo {mark} > /mark\n");
        fs::write(self.folder.join("Dockerfile"), dockerfile).expect("the folder is ours");
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        engine::remove_images(&self.name);
    }
}

#[tokio::test]
async fn a_folder_with_a_dockerfile_is_an_image() {
    let images = tempfile::tempdir().unwrap();
    let gcc = images.path().join("gcc");
    fs::create_dir(&gcc).unwrap();
    fs::copy(repository().join("images/gcc/Dockerfile"), gcc.join("Dockerfile")).unwrap();
    let plan = Plan::default().setting("ORCHESTRA_IMAGES", images.path().to_str().unwrap());
    let Some(stack) = plan.start().await else { return };
    let image = Image::new(images.path());
    let spec = json!({"command": "cat /mark", "image": image.name});

    image.write("first");
    // Both want it at the same time; one of them builds it.
    let (one, two) = (stack.api.submit(&spec).await, stack.api.submit(&spec).await);
    for id in [one.id, two.id] {
        let job = stack.api.finished(id).await;
        assert_eq!((job.status, job.output.as_str()), (JobStatus::Completed, "first\n"), "{job:?}");
        assert_ne!(stack.api.log(id, "?stream=system").await, "", "the log tells of the build");
    }
    assert_eq!(engine::images(&image.name).await.len(), 1);

    image.write("second");
    assert_eq!(stack.api.run(&spec).await.output, "second\n");

    let unknown = stack.api.run(&json!({"command": "true", "image": "no-such-image"})).await;
    assert_eq!(unknown.status, JobStatus::Failed);
    assert!(
        unknown.reason.as_ref().is_some_and(|why| why.contains("no-such-image")),
        "{unknown:?}"
    );
    assert!(matches!(unknown.outcome, Some(Outcome::Refused { .. })), "{unknown:?}");
    stack.stop().await;
}

//! Job images are folders: built when a job needs one, and rebuilt after a change.

use std::{
    fs,
    path::{Path, PathBuf},
};

use orchestra_contracts::{JobStatus, Outcome, paths};
use orchestra_tests::{Plan, Stack, engine, repository, unique_name, wait};
use serde_json::{Value, json};

/// An image folder with a unique name. Dropping it removes the images built from it.
pub(crate) struct Image {
    pub(crate) name: String,
    folder: PathBuf,
}

impl Image {
    pub(crate) fn new(images: &Path) -> Self {
        let name = unique_name("system-test-image");
        let folder = images.join(&name);
        fs::create_dir(&folder).expect("a new folder");
        Self { name, folder }
    }

    pub(crate) fn write(&self, mark: &str) {
        self.write_step(&format!("echo {mark} > /mark"));
    }

    fn write_step(&self, step: &str) {
        let dockerfile = format!("ARG BASE=debian:bookworm-slim\nFROM ${{BASE}}\nRUN {step}\n");
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
    // Both jobs need the image at the same time, and one build serves both.
    let (one, two) = (stack.api.submit(&spec).await, stack.api.submit(&spec).await);
    for id in [one.id, two.id] {
        let job = stack.api.finished(id).await;
        assert_eq!((job.status, job.output.as_str()), (JobStatus::Completed, "first\n"), "{job:?}");
        assert_ne!(stack.api.log(id, "?stream=system").await, "", "the log shows the build");
    }
    assert_eq!(engine::images(&image.name).await.len(), 1);

    image.write("second");
    assert_eq!(stack.api.run(&spec).await.output, "second\n");

    a_broken_folder_ends_the_jobs_that_wait(&stack, &Image::new(images.path())).await;
    a_cancel_does_not_wait_for_a_build(&stack, &Image::new(images.path())).await;

    let unknown = stack.api.run(&json!({"command": "true", "image": "no-such-image"})).await;
    assert_eq!(unknown.status, JobStatus::Failed);
    assert!(
        unknown.reason.as_ref().is_some_and(|why| why.contains("no-such-image")),
        "{unknown:?}"
    );
    assert!(matches!(unknown.outcome, Some(Outcome::Refused { .. })), "{unknown:?}");
    stack.stop().await;
}

/// Without a registry, from the repository's own folders. They are built once for all tests.
#[tokio::test]
async fn the_shipped_images_do_what_they_are_for() {
    let Some(stack) = Plan::default().start().await else { return };
    let built = stack.command(&["images", "build", "python", "node"]);
    let _ = orchestra_tests::program::run(built, wait::IMAGE).await.expect(0);
    let gcc =
        "gcc --version && g++ --version && make --version && cmake --version && git --version";
    for (image, command) in [
        ("gcc", format!("{{ {gcc}; }} > /dev/null && ! command -v gdb && echo 42")),
        ("python", "pip --version > /dev/null && python -c 'print(6 * 7)'".to_owned()),
        ("node", "node -e 'console.log(6 * 7)'".to_owned()),
    ] {
        let job = stack.api.run(&json!({"command": command, "image": image})).await;
        assert_eq!((job.output.as_str(), job.exit_code), ("42\n", Some(0)), "{image}: {job:?}");
    }
    stack.stop().await;
}

/// The jobs fail at once with the reason, since no retry could help.
async fn a_broken_folder_ends_the_jobs_that_wait(stack: &Stack, image: &Image) {
    image.write_step("echo there is no rule to make it; exit 7");
    let spec = json!({"command": "true", "image": image.name, "maxRetries": 3});
    let (one, two) = (stack.api.submit(&spec).await, stack.api.submit(&spec).await);
    for id in [one.id, two.id] {
        let job = stack.api.finished(id).await;
        assert_eq!((job.status, job.retry_count), (JobStatus::Failed, 0), "{job:?}");
        let Some(Outcome::Refused { reason }) = &job.outcome else { panic!("{job:?}") };
        assert!(reason.contains("code: 7\n  there is no rule to make it"), "{reason}");
        assert_eq!(stack.api.attempts(id).await.len(), 1, "it was tried again");
    }
}

/// The job ends once, as cancelled: its command never ran, and the build left nothing behind.
async fn a_cancel_does_not_wait_for_a_build(stack: &Stack, image: &Image) {
    image.write_step("sleep 300");
    let job = stack.api.submit(&json!({"command": "touch never", "image": image.name})).await;
    wait::until("the build to begin", wait::SOON, async || {
        let said = stack.api.log(job.id, "?stream=system").await;
        String::from_utf8_lossy(&said).contains("sleep 300").then_some(())
    })
    .await;
    let reply = stack.api.post(&paths::cancel(job.id), &Value::Null).await;
    assert!(matches!(reply.status, 200 | 202), "{reply:?}");
    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.retry_count), (JobStatus::Cancelled, 0), "{job:?}");
    assert_eq!(job.outcome, Some(Outcome::Cancelled), "{job:?}");
    assert_eq!(stack.api.attempts(job.id).await.len(), 1);
    engine::all_gone(&stack.workers[0].name).await;
    assert!(!stack.files().join("never").exists());
    assert_eq!(engine::images(&image.name).await, <[String; 0]>::default());
}

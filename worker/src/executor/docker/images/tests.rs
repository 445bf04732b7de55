//! On a real engine: what is built once, again, or not at all. Every image made here has its own
//! name and is removed by it.

use std::{
    collections::HashMap,
    fs,
    panic::AssertUnwindSafe,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures::future;
use tokio::sync::OnceCell;

use super::*;

mod failing;
mod keeping;
mod pulling;
pub(in crate::executor::docker) mod registry;

/// A folder with one image, and the engine that it is built on.
struct Lab {
    docker: Docker,
    images: Images,
    name: String,
    root: tempfile::TempDir,
}

impl Lab {
    fn write(&self, file: &str, text: &str) {
        fs::write(self.root.path().join(&self.name).join(file), text).unwrap();
    }

    async fn ensure(&self) -> (Result<ReadyImage, ImageError>, Vec<String>) {
        heard(|progress| self.images.ensure(&self.name, progress)).await
    }

    async fn remove_images(&self) {
        let label = format!("{LABEL}={}", self.name);
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        for image in self.docker.list_images(Some(options)).await.unwrap() {
            let options = RemoveImageOptionsBuilder::new().force(true).build();
            self.docker.remove_image(&image.id, Some(options), None).await.unwrap();
        }
    }
}

/// The result of a call, and the progress that it reports.
async fn heard<T, F: Future<Output = T>>(
    call: impl FnOnce(mpsc::Sender<String>) -> F,
) -> (T, Vec<String>) {
    let (progress, mut lines) = mpsc::channel(4);
    let collect = async {
        let mut all = Vec::new();
        while let Some(line) = lines.recv().await {
            all.push(line);
        }
        all
    };
    future::join(call(progress), collect).await
}

pub(super) async fn engine() -> Option<Docker> {
    let connected = async {
        let docker = Docker::connect_with_local_defaults()?.negotiate_version().await?;
        docker.ping().await.map(|_| docker)
    };
    match connected.await {
        Ok(docker) => {
            // Each test has an images folder of its own, so the folder lock does not help here.
            static BASE: OnceCell<&str> = OnceCell::const_new();
            let journal = Journal::new();
            BASE.get_or_try_init(|| base::ensure(&docker, &journal)).await.unwrap();
            Some(docker)
        }
        Err(err) => {
            let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true" || ci == "1");
            assert!(!in_ci, "the docker lane must run here: {err}");
            println!("skipped: no Docker engine answers ({err})");
            None
        }
    }
}

/// Runs `test` with an image folder that holds `dockerfile`, and removes what it built.
async fn with_lab(dockerfile: &str, test: impl AsyncFnOnce(&Lab)) {
    with_rules(ImagesConfig::default(), dockerfile, test).await;
}

async fn with_rules(rules: ImagesConfig, dockerfile: &str, test: impl AsyncFnOnce(&Lab)) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Some(docker) = engine().await else { return };
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("test-{}-{number}", std::process::id());
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join(&name)).unwrap();
    let images = Images::new(docker.clone(), root.path().to_owned(), rules);
    let lab = Lab { docker, images, name, root };
    lab.write("Dockerfile", dockerfile);
    let result = AssertUnwindSafe(test(&lab)).catch_unwind().await;
    lab.remove_images().await;
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

const TINY: &str = "ARG BASE=debian:bookworm-slim\nFROM ${BASE}\nCOPY marker /marker\n";

#[tokio::test]
async fn ten_at_once_build_it_once_and_all_hear_of_it() {
    with_lab(TINY, async |lab| {
        lab.write("marker", "one");
        let all = future::join_all((0..10).map(|_| lab.ensure())).await;
        let (first, _) = &all[0];
        let first = first.as_ref().unwrap();
        assert!(first.id.starts_with("sha256:"), "{first:?}");
        let building = format!("image {}: building {}", lab.name, first.reference);
        for (image, lines) in &all {
            assert_eq!(image.as_ref(), Ok(first));
            assert_eq!(lines.iter().filter(|line| **line == building).count(), 1, "{lines:?}");
            let step = format!("image {}: step 3/", lab.name);
            assert!(lines.iter().any(|line| line.starts_with(&step)), "{lines:?}");
        }
        // It exists now, so there is no progress.
        assert_eq!(lab.ensure().await, (Ok(first.clone()), vec![]));
    })
    .await;
}

#[tokio::test]
async fn an_edit_is_another_image_and_list_tells_whether_it_is_built() {
    with_lab(TINY, async |lab| {
        lab.write("marker", "one");
        let status = async || lab.images.list().await.unwrap().remove(0);
        let before = status().await;
        assert!(!before.built && before.size.is_none(), "{before:?}");
        let first = lab.ensure().await.0.unwrap();
        let built = status().await;
        assert_eq!((built.reference.as_str(), built.built), (first.reference.as_str(), true));
        assert!(built.size.is_some_and(|size| size > 1 << 20), "{built:?}");

        lab.write("marker", "two");
        assert!(!status().await.built);
        let second = lab.ensure().await.0.unwrap();
        assert_ne!(second.reference, first.reference);
        assert_ne!(second.id, first.id);
        assert_eq!(lab.images.reference(&lab.name).await.unwrap(), second.reference);
    })
    .await;
}

#[tokio::test]
async fn a_build_that_is_asked_for_leaves_the_cache_alone() {
    with_lab("ARG BASE\nFROM ${BASE}\nRUN echo made > /marker\n", async |lab| {
        let first = lab.ensure().await.0.unwrap();
        let (again, _) = heard(|progress| lab.images.build(&lab.name, progress)).await;
        let again = again.unwrap();
        assert_eq!(again.reference, first.reference);
        assert_ne!(again.id, first.id);
    })
    .await;
}

#[tokio::test]
async fn the_authorities_of_this_machine_are_there_for_a_dockerfile_that_wants_them() {
    let bundle = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if !bundle.exists() {
        println!("skipped: this machine has no {}", bundle.display());
        return;
    }
    let dockerfile = "ARG BASE\nFROM ${BASE}\nCOPY orchestra-ca.crt /ca.crt\nRUN test -s /ca.crt\n";
    with_lab(dockerfile, async |lab| {
        lab.ensure().await.0.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_waiter_that_gives_up_takes_nothing_from_the_others() {
    with_lab(TINY, async |lab| {
        lab.write("marker", "one");
        let (progress, mut lines) = mpsc::channel(4);
        let mut first = Box::pin(lab.images.ensure(&lab.name, progress));
        let second = lab.ensure();
        let gives_up = async {
            tokio::select! {
                _ = &mut first => panic!("it ended before it said anything"),
                line = lines.recv() => assert!(line.is_some()),
            }
            drop(first);
        };
        let ((), (image, lines)) = future::join(gives_up, second).await;
        image.unwrap();
        assert!(lines.last().is_some_and(|line| line.ends_with(": built")), "{lines:?}");
    })
    .await;
}

#[tokio::test]
async fn a_build_that_nobody_waits_for_any_more_ends() {
    with_lab("", async |lab| {
        // The builder's containers do not carry our name, but their command does.
        let step = format!("RUN sleep 1000; : {}", lab.name);
        lab.write("Dockerfile", &format!("ARG BASE\nFROM ${{BASE}}\n{step}\n"));
        let steps = async || {
            let all = ListContainersOptionsBuilder::new().all(true).build();
            let list = lab.docker.list_containers(Some(all)).await.unwrap();
            let runs = |command: Option<&String>| command.is_some_and(|c| c.contains(&lab.name));
            list.iter().filter(|container| runs(container.command.as_ref())).count()
        };
        let (progress, _lines) = mpsc::channel(64);
        tokio::select! {
            ended = lab.images.ensure(&lab.name, progress) => panic!("{ended:?}"),
            () = until("its step to run", async || steps().await == 1) => {}
        }
        until("its step to be ended and removed", async || steps().await == 0).await;
    })
    .await;
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_mins(1), wait).await;
    in_time.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

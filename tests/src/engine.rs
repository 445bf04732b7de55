//! What Orchestra has left in the engine. This module inspects and removes; it starts nothing.

use std::{collections::HashMap, path::PathBuf, sync::OnceLock};

use bollard::{
    Docker,
    models::ContainerSummary,
    query_parameters::{
        EventsOptions, ListContainersOptions, ListImagesOptions, ListNetworksOptions,
        ListVolumesOptions, RemoveContainerOptions, RemoveImageOptions,
    },
};

use futures::StreamExt;

use crate::{settings, tools, wait};

/// Prefix of every label that Orchestra sets.
const LABELS: &str = "orchestra.";
/// Name prefix of warm sandboxes that wait for a job.
const WARM: &str = "orchestra-warm-";

/// Whether tests that need the engine can run. Prints one line when they cannot.
///
/// # Panics
/// Under `CI=true` when there is no engine.
pub async fn is_there() -> bool {
    static TOLD: OnceLock<()> = OnceLock::new();
    match connect().await {
        Ok(_) => true,
        Err(error) if settings::in_ci() => panic!("the tests need a container engine: {error}"),
        Err(error) => {
            TOLD.get_or_init(|| tools::skip("engine", &error.to_string()));
            false
        }
    }
}

/// The engine's Unix socket; `None` when it is reached in another way.
pub fn socket() -> Option<PathBuf> {
    Some(settings::engine().strip_prefix("unix://")?.into())
}

async fn connect() -> Result<Docker, bollard::errors::Error> {
    Docker::connect_with_defaults()?.negotiate_version().await
}

/// Ids of this worker's containers, running or not. A container belongs to the worker when one
/// of its `orchestra.` labels holds the worker's name.
pub async fn containers_left(worker: &str) -> Vec<String> {
    containers_of(worker, true).await.into_iter().map(|(id, _)| id).collect()
}

/// Ids of this worker's containers that have had a job, running or not.
pub async fn jobs_left(worker: &str) -> Vec<String> {
    not_warm(containers_of(worker, true).await)
}

/// Ids of this worker's running containers, without warm sandboxes.
pub async fn running(worker: &str) -> Vec<String> {
    not_warm(containers_of(worker, false).await)
}

fn not_warm(containers: Vec<(String, String)>) -> Vec<String> {
    containers.into_iter().filter(|(_, name)| !name.starts_with(WARM)).map(|(id, _)| id).collect()
}

/// Pairs of id and name.
async fn containers_of(worker: &str, all: bool) -> Vec<(String, String)> {
    let engine = connect().await.expect("the engine is still there");
    let options = ListContainersOptions { all, ..Default::default() };
    let list =
        engine.list_containers(Some(options)).await.expect("the engine lists its containers");
    let ours = list.into_iter().filter(|container| belongs(container, worker));
    ours.filter_map(|it| Some((it.id?, it.names?.first()?.trim_start_matches('/').to_owned())))
        .collect()
}

fn belongs(container: &ContainerSummary, worker: &str) -> bool {
    let labels = container.labels.iter().flatten();
    labels.into_iter().any(|(key, value)| key.starts_with(LABELS) && value == worker)
}

/// An event of a container.
#[derive(Clone, Debug)]
pub struct ContainerEvent {
    /// The container's id.
    pub id: String,
    /// The container's name after the event.
    pub name: String,
    pub action: String,
    /// Nanoseconds since 1970, by the engine's clock.
    pub nanos: u64,
    pub labels: HashMap<String, String>,
}

/// Passes on starts, renames and ends of all containers from now on, until the future is dropped.
///
/// # Panics
/// When the engine closes the stream.
pub async fn events(mut tell: impl FnMut(ContainerEvent)) {
    let engine = connect().await.expect("the engine is still there");
    let wanted = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
    let filters = HashMap::from([
        ("type".to_owned(), wanted(&["container"])),
        ("event".to_owned(), wanted(&["start", "rename", "die"])),
    ]);
    let options = EventsOptions { filters: Some(filters), ..Default::default() };
    let mut events = std::pin::pin!(engine.events(Some(options)));
    while let Some(event) = events.next().await {
        let event = event.expect("the engine streams its events");
        let (Some(action), Some(nanos)) = (event.action, event.time_nano) else { continue };
        let actor = event.actor.unwrap_or_default();
        let (id, labels) = (actor.id.unwrap_or_default(), actor.attributes.unwrap_or_default());
        let name = labels.get("name").cloned().unwrap_or_default();
        tell(ContainerEvent { id, name, action, nanos: nanos as u64, labels });
    }
    panic!("the engine closed the stream of events");
}

/// PID of the container's PID 1 on the engine's machine, while it runs.
pub async fn first_process(id: &str) -> Option<i32> {
    let engine = connect().await.ok()?;
    let state = engine.inspect_container(id, None).await.ok()?.state?;
    i32::try_from(state.pid?).ok().filter(|pid| *pid > 0)
}

/// Removes one container, as a person at a shell would. Returns whether it existed.
pub async fn remove(id: &str) -> bool {
    let engine = connect().await.expect("the engine is still there");
    let options = RemoveContainerOptions { force: true, ..Default::default() };
    engine.remove_container(id, Some(options)).await.is_ok()
}

/// Waits until this worker has no containers left but warm sandboxes.
///
/// # Panics
/// When one is still there after [`wait::SOON`].
pub async fn all_gone(worker: &str) {
    let what = format!("the containers of {worker} to go");
    wait::until(&what, wait::SOON, async || {
        not_warm(containers_of(worker, true).await).is_empty().then_some(())
    })
    .await;
}

pub async fn has_image(name: &str) -> bool {
    let engine = connect().await.expect("the engine is still there");
    engine.inspect_image(name).await.is_ok()
}

/// Names of the containers, networks and volumes of a compose project.
pub async fn left_of_project(project: &str) -> Vec<String> {
    let engine = connect().await.expect("the engine is still there");
    let label = format!("com.docker.compose.project={project}");
    let filters = Some(HashMap::from([("label".to_owned(), vec![label])]));
    let containers =
        ListContainersOptions { all: true, filters: filters.clone(), ..Default::default() };
    let containers = engine.list_containers(Some(containers)).await.expect("a list");
    let networks = ListNetworksOptions { filters: filters.clone() };
    let networks = engine.list_networks(Some(networks)).await.expect("a list");
    let volumes = engine.list_volumes(Some(ListVolumesOptions { filters })).await.expect("a list");
    let containers = containers.into_iter().filter_map(|it| Some(it.names?.concat()));
    let networks = networks.into_iter().filter_map(|it| it.name);
    let volumes = volumes.volumes.unwrap_or_default().into_iter().map(|it| it.name);
    containers.chain(networks).chain(volumes).collect()
}

/// Ids of the containers of one service of a compose project.
pub async fn of_service(project: &str, service: &str) -> Vec<String> {
    let engine = connect().await.expect("the engine is still there");
    let labels = [("project", project), ("service", service)];
    let labels = labels.map(|(name, value)| format!("com.docker.compose.{name}={value}"));
    let filters = Some(HashMap::from([("label".to_owned(), labels.to_vec())]));
    let containers = ListContainersOptions { all: true, filters, ..Default::default() };
    let containers = engine.list_containers(Some(containers)).await.expect("a list");
    containers.into_iter().filter_map(|it| it.id).collect()
}

/// Ids of the images built from this image folder.
pub async fn images(folder: &str) -> Vec<String> {
    let engine = connect().await.expect("the engine is still there");
    images_of(&engine, folder).await
}

async fn images_of(engine: &Docker, folder: &str) -> Vec<String> {
    let label = format!("orchestra.image={folder}");
    let filters = Some(HashMap::from([("label".to_owned(), vec![label])]));
    let options = ListImagesOptions { filters, ..Default::default() };
    let list = engine.list_images(Some(options)).await.expect("the engine lists its images");
    list.into_iter().map(|image| image.id).collect()
}

/// Removes the images built from an image folder.
pub fn remove_images(folder: &str) {
    let folder = folder.to_owned();
    clean_up(async move |engine| {
        let options = RemoveImageOptions { force: true, ..Default::default() };
        for id in images_of(&engine, &folder).await {
            let _ = engine.remove_image(&id, Some(options.clone()), None).await;
        }
    });
}

/// Removes the containers of workers that could not clean up after themselves.
pub fn remove_containers(workers: Vec<String>) {
    clean_up(async move |engine| {
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        for worker in &workers {
            for (id, _) in containers_of(worker, true).await {
                // The worker may be removing the same container; it is gone a moment later.
                let _ = engine.remove_container(&id, Some(options.clone())).await;
            }
        }
    });
}

/// Runs on a thread and a runtime of its own, because it is called from `drop`.
fn clean_up<F: Future<Output = ()>>(sweep: impl FnOnce(Docker) -> F + Send + 'static) {
    let cleaning = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        if let Ok(engine) = runtime.block_on(connect()) {
            runtime.block_on(sweep(engine));
        }
        std::io::Result::Ok(())
    });
    if !matches!(cleaning.join(), Ok(Ok(()))) {
        tools::say("something of a test may be left on the engine: docker ps -a, docker images");
    }
}

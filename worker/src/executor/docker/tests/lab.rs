//! A Docker executor for one test, with its own worker-files folder and a job image that is just
//! the base image.

use std::{fs, path::PathBuf, sync::Arc, thread, time::Duration};

use bollard::models::ContainerSummary;
use bollard::query_parameters::RemoveImageOptions;
use clap::Parser;
use futures::future::BoxFuture;
use orchestra_contracts::{
    AttemptNo, JobId, JobSpec, Outcome, WorkerName,
    frame::{Body, Frame, Stream},
};
use tempfile::TempDir;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::super::{DockerExecutor, Parts, container::WORKER_LABEL, engine::Engine};
use crate::{
    Config,
    control::Control,
    executor::{End, Executor, Kept, RunEvent, RunSpec, uploads},
};

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    config: Config,
}

pub(super) struct Lab {
    pub(super) executor: Arc<DockerExecutor>,
    pub(super) config: Config,
    /// Removed at the end, together with the images folder.
    home: TempDir,
    start: Start,
}

/// How a lab's jobs get their sandboxes. A job cannot tell the difference, so the same tests cover
/// both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Cold,
    Warm,
}

/// The result of a run.
pub(super) struct Seen {
    pub(super) outcome: Outcome,
    pub(super) end: End,
    pub(super) started: bool,
    pub(super) frames: Vec<Frame>,
}

/// A run under way.
pub(super) struct Running<'a> {
    pub(super) control: Control,
    pub(super) events: mpsc::Receiver<RunEvent>,
    pub(super) end: BoxFuture<'a, End>,
    seen: Vec<RunEvent>,
}

pub(super) const LEASE: Duration = Duration::from_mins(1);

impl Lab {
    /// Opens a lab whose jobs each get a sandbox made for them.
    pub(super) async fn open(arguments: &[&str]) -> Option<Self> {
        Self::open_to(Start::Cold, arguments).await
    }

    pub(super) async fn open_to(start: Start, arguments: &[&str]) -> Option<Self> {
        let warm = if start == Start::Warm { "1" } else { "0" };
        let arguments = [&["--warm", warm], arguments].concat();
        let mut lab = Self::open_with(&arguments, Parts::default()).await?;
        lab.start = start;
        if start == Start::Warm {
            lab.until_warm(1).await;
        }
        Some(lab)
    }

    /// `None` without an engine: the lane reports that, and fails in CI.
    pub(super) async fn open_with(arguments: &[&str], parts: Parts) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        for (image, dockerfile) in [
            ("plain", "ARG BASE\nFROM ${BASE}\nENV FROM_IMAGE=yes\n"),
            ("empty", "FROM scratch\nLABEL a=b\n"),
        ] {
            let folder = home.path().join("images").join(image);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
        }
        let path = |name: &str| home.path().join(name).display().to_string();
        let name = format!("test-{:08x}", rand::random::<u32>());
        let (files, images) = (path("worker-files"), path("images"));
        let fixed = ["program", "--name", &name, "--worker-files", &files, "--images", &images];
        let fixed =
            [&fixed[..], &["--default-image", "plain", "--grace", "1s"], arguments].concat();
        let config = Program::parse_from(fixed).config;
        match DockerExecutor::start_with(&config, parts).await {
            Ok(executor) => {
                // Build the image now, so that no lease runs out meanwhile.
                let (progress, _) = mpsc::channel(1);
                executor.images.ensure("plain", progress).await.unwrap();
                executor.pool.stock().await;
                executor.pool.look().await;
                Some(Self { executor: Arc::new(executor), config, home, start: Start::Cold })
            }
            Err(error) => {
                eprintln!("SKIPPED: {error}");
                assert!(std::env::var_os("CI").is_none(), "CI has to have an engine: {error}");
                None
            }
        }
    }

    pub(super) fn files(&self) -> PathBuf {
        self.home.path().join("worker-files")
    }

    pub(super) fn start(&self, spec: JobSpec) -> Running<'_> {
        self.start_with(spec, Control::new(Instant::now() + LEASE))
    }

    pub(super) fn start_with(&self, spec: JobSpec, control: Control) -> Running<'_> {
        start_on(&self.executor, spec, control)
    }

    pub(super) async fn run(&self, command: &str) -> Seen {
        self.run_spec(JobSpec::new(command)).await
    }

    pub(super) async fn run_spec(&self, spec: JobSpec) -> Seen {
        if self.start == Start::Warm && self.executor.pool.waiting() == 0 {
            self.until_warm(1).await;
        }
        self.start(spec).end().await
    }

    /// Returns when this many sandboxes wait for their jobs.
    pub(super) async fn until_warm(&self, count: usize) {
        let give_up = Instant::now() + LEASE;
        while self.executor.pool.waiting() != count {
            let waiting = self.executor.pool.waiting();
            assert!(Instant::now() < give_up, "{waiting} wait, and not {count}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The names of this lab's containers, without waiting ones.
    pub(super) async fn containers(&self) -> Vec<String> {
        let all = self.all_containers().await.into_iter().map(|(name, _)| name);
        all.filter(|name| !name.starts_with("/orchestra-warm-")).collect()
    }

    /// The name of the only job's container. The job gets its container's name soon after it
    /// starts.
    pub(super) async fn container(&self) -> String {
        loop {
            if let Some(name) = self.containers().await.into_iter().next() {
                return name;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// All of them, by name and id.
    pub(super) async fn all_containers(&self) -> Vec<(String, String)> {
        let label = format!("orchestra.worker={}", self.executor.keeper.worker);
        let list = self.executor.keeper.engine.labelled(&[label]).await.unwrap();
        let named = |container: ContainerSummary| {
            Some((container.names?.into_iter().next()?, container.id?))
        };
        list.into_iter().filter_map(named).collect()
    }

    /// Like [`Lab::close`], and removes an image that only this test has made.
    pub(super) async fn close_and_forget(self, image: &str) {
        let engine = self.executor.keeper.engine.docker();
        self.close().await;
        let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
        engine.remove_image(image, Some(options), None).await.unwrap();
    }

    /// Ends the test, and checks that everything it made is gone.
    pub(super) async fn close(self) {
        if self.start == Start::Warm {
            assert!(self.executor.pool.handed_over() > 0, "all of its jobs started cold");
        }
        self.executor.close().await;
        assert_eq!(self.all_containers().await, []);
    }
}

/// A failing test leaves its containers behind, because no runtime is left to remove them.
impl Drop for Lab {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let (address, worker) = (self.config.engine.clone(), self.config.name.clone());
        let removed = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(remove_all_of(&worker, &address));
        });
        if removed.join().is_err() {
            eprintln!("containers of {} are left", self.config.name);
        }
    }
}

async fn remove_all_of(worker: &WorkerName, address: &str) {
    let engine = Engine::connect(address).await.unwrap();
    for container in engine.labelled(&[format!("{WORKER_LABEL}={worker}")]).await.unwrap() {
        engine.remove(&container.id.unwrap()).await.unwrap();
    }
    // Only tests that made one have such a network.
    let _ = engine.remove_network(&other_network(worker)).await;
}

/// A network of the engine that has nothing to do with jobs.
pub(super) fn other_network(worker: &WorkerName) -> String {
    format!("{worker}-other")
}

/// The job id and attempt number of every job in a lab.
pub(super) const NAME: (JobId, AttemptNo) = (JobId(7), AttemptNo(1));

pub(super) fn run_spec(spec: JobSpec) -> RunSpec {
    let uploads = Arc::new(uploads::NoUploads);
    RunSpec { job: NAME.0, attempt: NAME.1, element: None, spec, uploads }
}

pub(super) fn start_on(executor: &DockerExecutor, spec: JobSpec, control: Control) -> Running<'_> {
    start_run(executor, run_spec(spec), control)
}

pub(super) fn start_run(executor: &DockerExecutor, run: RunSpec, control: Control) -> Running<'_> {
    let (sender, events) = mpsc::channel(4);
    let end = executor.run(run, control.subscribe(), sender);
    Running::new(control, events, end)
}

impl<'a> Running<'a> {
    pub(super) fn new(
        control: Control,
        events: mpsc::Receiver<RunEvent>,
        end: BoxFuture<'a, End>,
    ) -> Self {
        Self { control, events, end, seen: Vec::new() }
    }

    /// Waits until the job's output ends with `text`.
    pub(super) async fn until_output(&mut self, text: &str) {
        self.until(|output| output.ends_with(text.as_bytes())).await;
    }

    /// Waits until the job has written at least this many lines.
    pub(super) async fn until_lines(&mut self, count: usize) {
        self.until(|output| output.split(|byte| *byte == b'\n').count() > count).await;
    }

    async fn until(&mut self, written: impl Fn(&[u8]) -> bool) {
        while !written(&output(&frames(&self.seen), Stream::Stdout)) {
            tokio::select! {
                event = self.events.recv() => self.seen.push(event.expect("it still runs")),
                end = &mut self.end => panic!("ended early: {end:?}"),
            }
        }
    }

    pub(super) async fn end(self) -> Seen {
        let Self { end, mut events, mut seen, .. } = self;
        let collect = async {
            while let Some(event) = events.recv().await {
                seen.push(event);
            }
        };
        let (mut end, ()) = tokio::join!(end, collect);
        // As after the report.
        end.kept = Kept::default();
        let started = seen.contains(&RunEvent::Started);
        Seen { outcome: end.outcome.clone(), end, started, frames: frames(&seen) }
    }
}

impl Seen {
    pub(super) fn stdout(&self) -> String {
        String::from_utf8(output(&self.frames, Stream::Stdout)).unwrap()
    }

    pub(super) fn stderr(&self) -> String {
        String::from_utf8(output(&self.frames, Stream::Stderr)).unwrap()
    }

    pub(super) fn notes(&self) -> String {
        String::from_utf8(output(&self.frames, Stream::System)).unwrap()
    }

    /// Its output, if it succeeded.
    #[track_caller]
    pub(super) fn success(&self) -> String {
        let (stderr, notes) = (self.stderr(), self.notes());
        assert_eq!(self.outcome, Outcome::Exited { code: 0 }, "{stderr}{notes}");
        self.stdout()
    }
}

fn frames(events: &[RunEvent]) -> Vec<Frame> {
    let frame = |event: &RunEvent| match event {
        RunEvent::Frame(frame) => Some(frame.clone()),
        RunEvent::Started | RunEvent::Made(_) => None,
    };
    events.iter().filter_map(frame).collect()
}

pub(super) fn output(frames: &[Frame], wanted: Stream) -> Vec<u8> {
    let mut all = Vec::new();
    for frame in frames {
        match &frame.body {
            Body::Bytes(stream, bytes) if *stream == wanted => all.extend_from_slice(bytes),
            _ => (),
        }
    }
    all
}

//! An executor whose jobs are scripts in a language of its own: steps separated by `;`.
//!
//! * `say TEXT` prints a line.
//! * `count N` prints this many lines.
//! * `fail-first` exits with 1 in attempt 1.
//! * `exit N` exits with this code.
//! * `last` takes a second.
//! * `hang` waits until it is stopped.
//! * `late` waits until it is stopped, then exits with 0.
//! * `leave FILE` leaves an artifact that contains its own name.
//! * `panic` panics.
//!
//! What an earlier process left runs from its beginning, and prints only what is not stored.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use orchestra_contracts::{
    AttemptNo, JobId, Outcome, Ran, Size, Usage,
    files::Changes,
    frame::{Body, Frame, Stream},
    worker::{LogHead, Offer},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use crate::{
    control::{Orders, Stop, stopped},
    executor::{
        End, Executor, Kept, Left, Remains, RunEvent, RunSpec, Trouble,
        artifacts::{ArtifactFile, ArtifactSource, ReadError},
    },
};

#[derive(Debug, Default)]
pub(crate) struct ScriptedExecutor {
    stage: Arc<Stage>,
    /// Jobs of which something is left, and whether it is ours.
    left: Mutex<HashMap<JobId, bool>>,
    calls: Mutex<Vec<String>>,
    health: watch::Sender<Option<Trouble>>,
    offer: watch::Sender<Option<Offer>>,
}

/// Where the scripts run.
#[derive(Debug, Default)]
struct Stage {
    running: AtomicUsize,
    most: AtomicUsize,
    /// Ends that are not reported yet.
    kept: Arc<AtomicUsize>,
}

impl ScriptedExecutor {
    /// Number of ends that are kept because they are not reported yet.
    pub(crate) fn kept(&self) -> usize {
        self.stage.kept.load(Ordering::SeqCst)
    }

    /// The most jobs that ran at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.stage.most.load(Ordering::SeqCst)
    }

    pub(crate) fn running(&self) -> usize {
        self.stage.running.load(Ordering::SeqCst)
    }

    /// As if an earlier process had begun the job.
    pub(crate) fn leave(&self, job: i64, ours: bool) {
        self.left.lock().unwrap().insert(JobId(job), ours);
    }

    /// As if its engine went away, or came back.
    pub(crate) fn ail(&self, reason: Option<&str>) {
        let since = Instant::now();
        self.health.send_replace(reason.map(|it| Trouble { since, reason: it.to_owned() }));
    }

    /// Sets the offer to jobs from now on.
    pub(crate) fn offers(&self, offer: Offer) {
        self.offer.send_replace(Some(offer));
    }

    /// The calls other than runs.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Stage {
    async fn run(
        &self,
        spec: RunSpec,
        mut orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
        stored: u64,
    ) -> End {
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(&self.running);
        self.most.fetch_max(now, Ordering::SeqCst);
        events.send(RunEvent::Made(Box::new(scripted()))).await.unwrap();
        events.send(RunEvent::Started).await.unwrap();
        let (mut mouth, mut left) = (Mouth { events, stored }, Vec::new());
        let changes = |left: &[String]| {
            Some(Box::new(Changes { created: left.to_vec(), ..Changes::default() }))
        };
        for step in spec.spec.command.split(';').map(str::trim) {
            if let Some(file) = step.strip_prefix("leave ") {
                left.push(file.to_owned());
                continue;
            }
            if let Some(outcome) = step_of(step, spec.attempt, &mut orders, &mut mouth).await {
                let changes = changes(&left);
                return End { changes, artifacts: Some(Box::new(Shelf(left))), ..outcome.into() };
            }
        }
        self.kept.fetch_add(1, Ordering::SeqCst);
        let kept = Kept::new(KeptEnd(self.kept.clone()));
        let usage = Some(Usage::default());
        let changes = changes(&left);
        let artifacts: Option<Box<dyn ArtifactSource>> = Some(Box::new(Shelf(left)));
        End { usage, changes, artifacts, kept, ..Outcome::Exited { code: 0 }.into() }
    }
}

/// Files that contain their own names.
struct Shelf(Vec<String>);

#[async_trait]
impl ArtifactSource for Shelf {
    fn paths(&self) -> &[String] {
        &self.0
    }

    async fn open(&self, path: &str) -> Result<ArtifactFile, ReadError> {
        let content = Bytes::copy_from_slice(path.as_bytes());
        let bytes = content.len() as u64;
        let content = stream::iter([Ok(content)]).boxed();
        Ok(ArtifactFile { bytes, executable: false, content })
    }
}

/// Describes its imaginary containers.
fn scripted() -> Ran {
    Ran {
        image: "scripted".to_owned(),
        image_id: "sha256:0".to_owned(),
        digest: None,
        user: "1:1".to_owned(),
        cpus: 1.0,
        memory: Size::mib(1),
        pids: 1,
        tmp: Size::mib(1),
        file_size: Size::mib(1),
        files: None,
        runtime: None,
        env: [].into(),
    }
}

struct KeptEnd(Arc<AtomicUsize>);

impl Drop for KeptEnd {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What an earlier process left of a job.
struct Leftover(Arc<Stage>);

#[async_trait]
impl Remains for Leftover {
    async fn resume(
        self: Box<Self>,
        spec: RunSpec,
        stored: LogHead,
        orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        self.0.run(spec, orders, events, stored.output).await
    }
}

async fn step_of(
    step: &str,
    attempt: AttemptNo,
    orders: &mut watch::Receiver<Orders>,
    mouth: &mut Mouth,
) -> Option<Outcome> {
    match step.split_once(' ').unwrap_or((step, "")) {
        ("say", text) => {
            mouth.say(text).await;
            None
        }
        ("count", lines) => {
            for line in 1..=lines.parse::<u64>().unwrap() {
                mouth.say(&line.to_string()).await;
            }
            None
        }
        ("fail-first", _) if attempt == AttemptNo(1) => Some(Outcome::Exited { code: 1 }),
        ("fail-first", _) => None,
        ("exit", code) => Some(Outcome::Exited { code: code.parse().unwrap() }),
        ("last", _) => {
            sleep(Duration::from_secs(1)).await;
            None
        }
        ("hang", _) => {
            stopped(orders, Stop::Cancel).await;
            let stop = orders.borrow().stop;
            Some(match stop.unwrap() {
                Stop::Cancel => Outcome::Cancelled,
                Stop::HandBack => Outcome::HandedBack,
                Stop::Lost => Outcome::Lost,
            })
        }
        ("late", _) => {
            stopped(orders, Stop::Cancel).await;
            Some(Outcome::Exited { code: 0 })
        }
        ("panic", _) => panic!("as the script says"),
        (word, _) => panic!("{word} is no word of these scripts"),
    }
}

struct Mouth {
    events: mpsc::Sender<RunEvent>,
    /// How many bytes need not be printed again.
    stored: u64,
}

impl Mouth {
    async fn say(&mut self, line: &str) {
        let line = format!("{line}\n").into_bytes();
        let known = self.stored.min(line.len() as u64);
        self.stored -= known;
        let bytes = line[known as usize..].to_vec();
        if !bytes.is_empty() {
            let frame = Frame { time: 1, body: Body::Bytes(Stream::Stdout, bytes.into()) };
            self.events.send(RunEvent::Frame(frame)).await.unwrap();
        }
    }
}

/// Counts an attempt as running, even if it panics.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Executor for ScriptedExecutor {
    async fn run(
        &self,
        spec: RunSpec,
        orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        self.stage.run(spec, orders, events, 0).await
    }

    async fn ready(&self) {
        let well = self.health.subscribe().wait_for(Option::is_none).await.is_ok();
        assert!(well, "self holds the sender");
    }

    fn health(&self) -> watch::Receiver<Option<Trouble>> {
        self.health.subscribe()
    }

    fn offer(&self) -> watch::Receiver<Option<Offer>> {
        self.offer.subscribe()
    }

    async fn left_of(&self, job: JobId, attempt: AttemptNo) -> Left {
        self.calls.lock().unwrap().push(format!("left of {job}/{attempt}"));
        match self.left.lock().unwrap().get(&job) {
            Some(true) => Left::Ours(Box::new(Leftover(self.stage.clone()))),
            Some(false) => Left::NotOurs,
            None => Left::Nothing,
        }
    }

    async fn tidy(&self) {
        self.calls.lock().unwrap().push("tidy".to_owned());
    }

    async fn close(&self) {}
}

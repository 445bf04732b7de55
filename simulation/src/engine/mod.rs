//! A simulated engine: the containers of all hosts, and the [`Executor`] through which one worker
//! process uses them.

mod conversation;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use orchestra_contracts::{AttemptNo, JobId, Outcome, WorkerName, worker::LogHead};
use orchestra_worker::parts::{End, Executor, Left, Orders, RunEvent, RunSpec, Stop};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use self::conversation::{Conversation, Found, ResumePoint};
use crate::{
    chance::Chance,
    container::{Container, Request},
    process::Process,
    record::Record,
    script::Script,
};

/// How bad the engine is; rates per thousand creations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineWeather {
    pub create_fails: u32,
    /// Creations that are answered only after the worker's own timeout.
    pub create_hangs: u32,
}

/// The worker's timeout for one engine call.
const CALL: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Engine {
    containers: Mutex<Vec<Arc<Container>>>,
    lives: Mutex<JoinSet<()>>,
    weather: Mutex<EngineWeather>,
    chance: Chance,
    record: Arc<Record>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    pub fn new(chance: Chance, record: Arc<Record>) -> Arc<Self> {
        Arc::new(Self {
            containers: Mutex::default(),
            lives: Mutex::default(),
            weather: Mutex::default(),
            chance,
            record,
        })
    }

    pub fn set_weather(&self, weather: EngineWeather) {
        *lock(&self.weather) = weather;
    }

    /// The engine as one worker process sees it.
    pub fn executor(self: &Arc<Self>, worker: WorkerName, process: Arc<Process>) -> Arc<Hands> {
        Arc::new(Hands { engine: self.clone(), worker, process })
    }

    /// Names of the containers that nobody has removed.
    pub fn left(&self) -> Vec<String> {
        let name = |container: &Arc<Container>| {
            let Request { worker, job, attempt, .. } = &container.request;
            format!("container of job {job}, attempt {attempt} on {worker}")
        };
        lock(&self.containers).iter().filter(|it| !it.is_removed()).map(name).collect()
    }

    /// Loses a host's containers, as after a reboot or a removal by hand.
    pub fn lose(&self, worker: &WorkerName) {
        for container in lock(&self.containers).iter() {
            if container.request.worker == *worker && container.runs() {
                container.vanish();
            }
        }
    }

    async fn create(&self, request: Request, process: &Arc<Process>) -> Result<Held, Outcome> {
        let weather = *lock(&self.weather);
        if self.chance.permille(weather.create_hangs) {
            sleep(CALL).await;
            return Err(could_not_start("the engine did not answer"));
        }
        sleep(self.chance.millis(5, 300)).await;
        if self.chance.permille(weather.create_fails) {
            return Err(could_not_start("the engine said no"));
        }
        let container = Container::new(request, process.clone(), self.record.clone());
        lock(&self.containers).push(container.clone());
        lock(&self.lives).spawn(container.clone().live());
        Ok(Held { container, process: process.clone() })
    }
}

fn could_not_start(reason: &str) -> Outcome {
    Outcome::CouldNotStart { reason: reason.to_owned() }
}

/// The engine as one worker process sees it.
#[derive(Debug)]
pub struct Hands {
    engine: Arc<Engine>,
    worker: WorkerName,
    process: Arc<Process>,
}

/// A container that is removed with its holder, unless the holder's process was killed.
struct Held {
    container: Arc<Container>,
    process: Arc<Process>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.process.is_alive() {
            self.container.remove();
        }
    }
}

#[async_trait]
impl Executor for Hands {
    async fn run(
        &self,
        spec: RunSpec,
        mut orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        let until = orders.borrow().until;
        let created = tokio::select! {
            biased;
            stop = stop_of(&mut orders) => Err(stop),
            created = self.create(&spec, until) => created,
        };
        match created {
            Err(outcome) => outcome.into(),
            Ok(held) => {
                let _ = events.send(RunEvent::Started).await;
                let stored = LogHead::default();
                Conversation {
                    engine: self.engine.clone(),
                    held,
                    stored: ResumePoint::after(stored),
                }
                .hold(orders, events)
                .await
            }
        }
    }

    async fn ready(&self) {}

    async fn left_of(&self, job: JobId, attempt: AttemptNo) -> Left {
        sleep(self.engine.chance.millis(1, 50)).await;
        let is_it = |container: &&Arc<Container>| {
            let request = &container.request;
            let named = request.worker == self.worker;
            named && (request.job, request.attempt) == (job, attempt) && !container.is_removed()
        };
        let found = lock(&self.engine.containers).iter().find(is_it).cloned();
        match found {
            None => Left::Nothing,
            Some(container) if container.owner().is_alive() => Left::NotOurs,
            Some(container) => {
                container.give_to(self.process.clone());
                let held = Held { container, process: self.process.clone() };
                Left::Ours(Box::new(Found { engine: self.engine.clone(), held }))
            }
        }
    }

    async fn tidy(&self) {
        for container in lock(&self.engine.containers).iter() {
            if container.request.worker == self.worker && !container.owner().is_alive() {
                container.remove();
            }
        }
    }

    async fn close(&self) {}
}

impl Hands {
    async fn create(&self, spec: &RunSpec, until: Instant) -> Result<Held, Outcome> {
        let script = Script::parse(&spec.spec.command).ok_or_else(|| Outcome::Refused {
            reason: format!("{:?} is no command of a simulation", spec.spec.command),
        })?;
        let request = Request {
            worker: self.worker.clone(),
            job: spec.job,
            attempt: spec.attempt,
            script,
            timeout: spec.spec.timeout.unwrap_or_default().0,
            until,
        };
        self.engine.create(request, &self.process).await
    }
}

/// The outcome when the order to stop comes before the container exists.
async fn stop_of(orders: &mut watch::Receiver<Orders>) -> Outcome {
    let stop = orders.wait_for(|orders| orders.stop.is_some()).await.map(|orders| orders.stop);
    match stop {
        Ok(Some(Stop::HandBack)) => Outcome::HandedBack,
        Ok(Some(Stop::Lost)) => Outcome::Lost,
        Ok(_) => Outcome::Cancelled,
        Err(_) => std::future::pending().await,
    }
}

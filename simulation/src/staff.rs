//! Real workers that use the simulated engine and real masters. Each can be started, killed and
//! stopped in order.

use std::{sync::Arc, time::Duration};

use orchestra_contracts::{WorkerName, worker::Registration};
use orchestra_worker::parts::{Terms, Worker};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{balancer::Street, engine::Engine, process::Process};

/// The workers' grace time.
const GRACE: Duration = Duration::from_secs(2);
/// Time limit of a stop in order.
const STOP: Duration = Duration::from_secs(30);

/// One worker and its machine.
#[derive(Debug)]
pub struct Colleague {
    pub name: WorkerName,
    number: usize,
    slots: u32,
    street: Arc<Street>,
    engine: Arc<Engine>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    process: Arc<Process>,
    soft: CancellationToken,
    task: JoinSet<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill();
    }
}

impl Colleague {
    /// # Panics
    /// Never: the name is valid.
    pub fn new(number: usize, slots: u32, street: &Arc<Street>, engine: &Arc<Engine>) -> Self {
        let name = format!("worker-{number}").parse().expect("it is a worker's name");
        let (street, engine) = (street.clone(), engine.clone());
        Self { name, number, slots, street, engine, running: None }
    }

    pub fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        let process = Process::begin();
        let executor = self.engine.executor(self.name.clone(), process.clone());
        let registration = Registration {
            slots: self.slots,
            queues: vec!["default".to_owned()],
            ..Registration::default()
        };
        let terms = Terms { name: self.name.clone(), registration, grace: GRACE };
        let worker = Worker::of(self.street.client(self.number), executor, terms);
        let (soft, mut task) = (CancellationToken::new(), JoinSet::new());
        task.spawn(worker.serve(soft.clone(), CancellationToken::new()));
        self.running = Some(Running { process, soft, task });
    }

    /// Ends it as SIGKILL does: its containers stay.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Ends it as SIGTERM does. Returns whether it ended by itself.
    pub async fn stop(&mut self) -> bool {
        let Some(mut running) = self.running.take() else { return true };
        running.soft.cancel();
        timeout(STOP, running.task.join_next()).await.is_ok()
    }
}

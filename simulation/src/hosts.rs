//! The simulated machines: one with a master, some with a worker. Each can be started, stopped in
//! order, and killed.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use orchestra_client::Client;
use orchestra_contracts::{WorkerName, worker::Registration};
use orchestra_master::{
    clock::Clock,
    http::{self, Access, Hosts},
    service::{self, Service, Settings, Vault},
    steady_clock, upkeep,
};
use orchestra_worker::parts::{Terms, Worker};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    disk::{Disk, OpenDisk},
    engine::Engine,
    network::Network,
    process::Process,
};

/// Base URL of the clients; the simulated network carries it.
const ADDRESS: &str = "http://master:5216";
/// Time limit of a stop in order, after which the process is killed.
const STOP: Duration = Duration::from_secs(20);

/// A client on one host.
pub fn client(network: &Arc<Network>, host: &'static str) -> Client {
    Client::new(ADDRESS).expect("it is an address").over(network.from(host))
}

/// The machine of the master.
#[derive(Debug)]
pub struct MasterHost {
    pub network: Arc<Network>,
    pub disk: Arc<Disk>,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
    running: Option<RunningMaster>,
}

#[derive(Debug)]
struct RunningMaster {
    disk: Arc<OpenDisk>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Drop for RunningMaster {
    /// However the process ends, its pending writes are lost.
    fn drop(&mut self) {
        self.disk.crash();
    }
}

impl MasterHost {
    pub fn new(
        network: Arc<Network>,
        disk: Arc<Disk>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        Self { network, disk, clock, settings, running: None }
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Does what `orchestra_master::run` does, with this host's parts.
    pub async fn start(&mut self) {
        if self.is_running() {
            return;
        }
        let (disk, shutdown) = (self.disk.open(), CancellationToken::new());
        let clock = steady_clock(&*disk, self.clock.clone()).await;
        let clock = clock.expect("reading never fails here");
        let (service, claims) = Service::new(
            disk.clone(),
            clock,
            self.settings.clone(),
            Vault::new(&[0; 32]),
            shutdown.clone(),
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(service::dispatch(service.clone(), claims));
        tasks.spawn(upkeep::run(service.clone(), shutdown.clone()));
        let access = Access::open(Ipv4Addr::LOCALHOST.into(), Hosts::default());
        self.network.serve(http::router(service, access));
        self.running = Some(RunningMaster { disk, shutdown, tasks });
    }

    /// Ends it as SIGKILL does.
    pub fn kill(&mut self) {
        self.network.cut_off_master();
        self.running = None;
    }

    /// Ends it as SIGTERM does. Requests in progress may still be answered.
    pub async fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.shutdown.cancel();
            let all_ended = async { while running.tasks.join_next().await.is_some() {} };
            let _ = timeout(STOP, all_ended).await;
        }
        self.kill();
    }
}

/// The machine of one worker.
#[derive(Debug)]
pub struct WorkerHost {
    pub name: &'static str,
    pub network: Arc<Network>,
    pub engine: Arc<Engine>,
    pub slots: u32,
    pub grace: Duration,
    running: Option<RunningWorker>,
}

#[derive(Debug)]
struct RunningWorker {
    process: Arc<Process>,
    soft: CancellationToken,
    task: JoinSet<()>,
}

impl Drop for RunningWorker {
    /// However the process ends, none of its clean-up runs afterwards.
    fn drop(&mut self) {
        self.process.kill();
    }
}

impl WorkerHost {
    pub fn new(
        name: &'static str,
        network: Arc<Network>,
        engine: Arc<Engine>,
        slots: u32,
        grace: Duration,
    ) -> Self {
        Self { name, network, engine, slots, grace, running: None }
    }

    pub fn worker(&self) -> WorkerName {
        self.name.parse().expect("it is a worker's name")
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Does what `orchestra_worker::run` does, with this host's engine.
    pub fn start(&mut self) {
        if self.is_running() {
            return;
        }
        let (name, process) = (self.worker(), Process::begin());
        let executor = self.engine.executor(name.clone(), process.clone());
        let registration = Registration {
            slots: self.slots,
            queues: vec!["default".to_owned()],
            ..Registration::default()
        };
        let terms = Terms { name, registration, grace: self.grace };
        let worker = Worker::of(client(&self.network, self.name), executor, terms);
        let (soft, mut task) = (CancellationToken::new(), JoinSet::new());
        task.spawn(worker.serve(soft.clone(), CancellationToken::new()));
        self.running = Some(RunningWorker { process, soft, task });
    }

    /// Ends it as SIGKILL does: its containers stay.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Ends it as SIGTERM does. Returns whether it ended by itself.
    pub async fn stop(&mut self) -> bool {
        let Some(mut running) = self.running.take() else { return true };
        running.soft.cancel();
        timeout(self.grace + STOP, running.task.join_next()).await.is_ok()
    }
}

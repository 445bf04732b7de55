//! Faults: which, when, and for how long, drawn from the seed.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use orchestra_tests::check::What;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    chance::Chance,
    clocks::WallClock,
    disk::{Disk, DiskWeather},
    engine::{Engine, EngineWeather},
    hosts::{MasterHost, WorkerHost},
    network::{Network, Weather},
    record::Record,
};

/// Everything that can be broken.
#[derive(Debug)]
pub struct World {
    pub record: Arc<Record>,
    pub network: Arc<Network>,
    pub disk: Arc<Disk>,
    pub engine: Arc<Engine>,
    pub clock: Arc<WallClock>,
    pub master: Arc<tokio::sync::Mutex<MasterHost>>,
    pub workers: Vec<Arc<tokio::sync::Mutex<WorkerHost>>>,
    pub hosts: Vec<&'static str>,
    pub lease: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillMaster,
    StopMaster,
    KillWorker,
    StopWorker,
    RestartMachine,
    LoseContainers,
    Part,
    Network,
    Disk,
    Engine,
    Jump,
}

const FAULTS: &[Fault] = &[
    Fault::KillMaster,
    Fault::KillMaster,
    Fault::StopMaster,
    Fault::KillWorker,
    Fault::KillWorker,
    Fault::KillWorker,
    Fault::StopWorker,
    Fault::RestartMachine,
    Fault::LoseContainers,
    Fault::Part,
    Fault::Part,
    Fault::Part,
    Fault::Network,
    Fault::Network,
    Fault::Network,
    Fault::Disk,
    Fault::Disk,
    Fault::Engine,
    Fault::Jump,
];

impl World {
    /// Injects one fault after another until the time is over, then heals everything.
    pub async fn trouble(self: &Arc<Self>, chance: &Chance, long: Duration) {
        let until = Instant::now() + long;
        let pace = *chance.one_of(&[1_500, 4_000, 10_000]);
        let mut repairs = JoinSet::new();
        while Instant::now() < until {
            sleep(chance.millis(50, pace)).await;
            let fault = *chance.one_of(FAULTS);
            // Often short, often longer than a lease.
            let lease = self.lease.as_millis() as u64;
            let most = *chance.one_of(&[200, lease / 2, lease, lease * 2]);
            let away = chance.millis(0, most);
            self.break_one(fault, chance, away, &mut repairs).await;
            while repairs.try_join_next().is_some() {}
        }
        drop(repairs);
        self.heal().await;
    }

    fn note(&self, kind: &str, target: &str) {
        self.record.note(What::Fault { kind: kind.to_owned(), target: target.to_owned() });
    }

    async fn break_one(
        self: &Arc<Self>,
        fault: Fault,
        chance: &Chance,
        away: Duration,
        repairs: &mut JoinSet<()>,
    ) {
        let worker = chance.one_of(&self.workers).clone();
        match fault {
            Fault::KillMaster => {
                self.note("kill", "master");
                let master = self.master.clone();
                master.lock().await.kill();
                repairs.spawn(async move {
                    sleep(away).await;
                    master.lock().await.start().await;
                });
            }
            Fault::StopMaster => {
                self.note("stop", "master");
                let master = self.master.clone();
                repairs.spawn(async move {
                    master.lock().await.stop().await;
                    sleep(away).await;
                    master.lock().await.start().await;
                });
            }
            Fault::KillWorker | Fault::RestartMachine => {
                let mut host = worker.lock().await;
                self.note("kill", host.name);
                host.kill();
                if matches!(fault, Fault::RestartMachine) {
                    self.note("restart the machine", host.name);
                    self.engine.lose(&host.worker());
                }
                drop(host);
                repairs.spawn(async move {
                    sleep(away).await;
                    worker.lock().await.start();
                });
            }
            Fault::StopWorker => {
                self.note("stop", worker.lock().await.name);
                let record = self.record.clone();
                repairs.spawn(async move {
                    let mut host = worker.lock().await;
                    let ended = host.stop().await;
                    record.line(format_args!("{} stopped, by itself: {ended}", host.name));
                    drop(host);
                    sleep(away).await;
                    worker.lock().await.start();
                });
            }
            Fault::LoseContainers => {
                let name = worker.lock().await.worker();
                self.note("remove containers", name.as_str());
                self.engine.lose(&name);
            }
            Fault::Part => {
                let host = *chance.one_of(&self.hosts);
                self.note("part", host);
                self.network.part(host);
                let network = self.network.clone();
                repairs.spawn(async move {
                    sleep(away).await;
                    network.join(host);
                });
            }
            Fault::Network => {
                self.note("weather", "network");
                self.network.set_weather(any_weather(chance, self.lease));
            }
            Fault::Disk => {
                self.note("weather", "disk");
                self.disk.set_weather(any_disk(chance, self.lease));
            }
            Fault::Engine => {
                self.note("weather", "engine");
                let weather = EngineWeather {
                    create_fails: *chance.one_of(&[0, 0, 100]),
                    create_hangs: *chance.one_of(&[0, 0, 50]),
                };
                self.engine.set_weather(weather);
            }
            Fault::Jump => {
                let most = *chance.one_of(&[500, 10_000, 3_600_000]);
                let by = chance.number(0, 2 * most) as i64 - most as i64;
                self.note("jump of the clock", &format!("master, {by} ms"));
                self.clock.jump(SignedDuration::from_millis(by));
            }
        }
    }

    /// Ends all faults and starts whatever is down.
    pub async fn heal(&self) {
        self.network.heal();
        self.disk.set_weather(DiskWeather::default());
        self.engine.set_weather(EngineWeather::default());
        self.master.lock().await.start().await;
        for worker in &self.workers {
            worker.lock().await.start();
        }
        self.record.note(What::Healed);
    }
}

/// Draws a network condition, from good to bad.
pub fn any_weather(chance: &Chance, lease: Duration) -> Weather {
    let often = *chance.one_of(&[0, 10, 50, 150]);
    let part = |chance: &Chance| chance.number(0, often) as u32;
    Weather {
        slow: *chance.one_of(&[0, 20, 300]),
        lose_request: part(chance),
        lose_answer: part(chance),
        cut_answer: part(chance),
        double: part(chance),
        copy_delay: lease.mul_f64(*chance.one_of(&[0.01, 0.3, 2.5])),
    }
}

fn any_disk(chance: &Chance, lease: Duration) -> DiskWeather {
    let often = *chance.one_of(&[0, 10, 50]);
    DiskWeather {
        stall: chance.number(0, often) as u32,
        longest_stall: lease.mul_f64(*chance.one_of(&[0.05, 0.4, 1.2])),
        refuse: chance.number(0, often) as u32,
        deny: chance.number(0, often) as u32,
    }
}

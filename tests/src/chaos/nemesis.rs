//! Faults, drawn from a seed and injected one at a time, each healed before the next.

use std::time::Duration;

use orchestra_contracts::WorkerName;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use tokio::time::sleep;

use super::{Recorder, measure};
use crate::{
    Proxy, Stack, Toxic,
    check::{Phase, What},
    engine,
};

/// A fault that can be injected into a stack.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KillWorker,
    FreezeWorker,
    EndWorker,
    KillMaster,
    FreezeMaster,
    EndMaster,
    /// Between a worker and the master.
    Link(Trouble),
    /// Between the clients and the master.
    Clients(Trouble),
    RemoveContainer,
}

/// A fault of a connection.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Cut,
    CutOften,
    BlackHole,
    Slow,
    DropAnswers,
    HalfOpen,
    Trickle,
}

const TROUBLES: [Trouble; 7] = [
    Trouble::Cut,
    Trouble::CutOften,
    Trouble::BlackHole,
    Trouble::Slow,
    Trouble::DropAnswers,
    Trouble::HalfOpen,
    Trouble::Trickle,
];

/// Injects faults into a stack, one after another.
#[derive(Debug)]
pub struct Nemesis {
    random: StdRng,
    /// Lease duration of the stack.
    lease: Duration,
    recorder: Recorder,
}

impl Nemesis {
    pub fn new(seed: u64, lease: Duration, recorder: Recorder) -> Self {
        Self { random: StdRng::seed_from_u64(seed), lease, recorder }
    }

    /// Injects one fault, heals it, then pauses. `clients` is the proxy between the clients and the
    /// master.
    ///
    /// # Panics
    /// When a program does not end, or does not come back.
    pub async fn strike(&mut self, stack: &mut Stack, clients: &Proxy) {
        let fault = self.draw();
        let worker = self.random.random_range(0..stack.workers.len());
        // One in five outlasts the lease, so the running attempts are lost and start over.
        let long = self.random.random_bool(0.2);
        let time = if long {
            self.lease + self.lease / 4 + Duration::from_secs(3)
        } else {
            Duration::from_millis(self.random.random_range(0..self.lease.as_millis() as u64 / 2))
        };
        let name = stack.workers[worker].name.clone();
        let target = match fault {
            Fault::KillMaster | Fault::FreezeMaster | Fault::EndMaster => "master",
            Fault::Clients(_) => "clients",
            _ => name.as_str(),
        };
        let kind = format!("{fault:?}{}", if long { ", longer than a lease" } else { "" });
        self.recorder.record(What::Fault { kind, target: target.to_owned() });
        match fault {
            Fault::KillWorker => {
                stack.workers[worker].program.kill();
                self.away(&name, time, long).await;
                stack.start_worker_again(worker);
            }
            Fault::FreezeWorker => {
                stack.workers[worker].program.signal(Signal::STOP);
                self.away(&name, time, long).await;
                stack.workers[worker].program.signal(Signal::CONT);
            }
            Fault::EndWorker => {
                stack.workers[worker].program.terminate().await;
                sleep(time).await;
                stack.start_worker_again(worker);
            }
            Fault::KillMaster => {
                stack.kill_master();
                sleep(time).await;
                stack.restart_master().await;
            }
            Fault::FreezeMaster => {
                stack.master().signal(Signal::STOP);
                sleep(time).await;
                stack.master().signal(Signal::CONT);
            }
            Fault::EndMaster => {
                stack.master().terminate().await;
                sleep(time).await;
                stack.restart_master().await;
            }
            Fault::Link(trouble) => {
                let link = stack.workers[worker].link.as_ref().expect("the plan is proxied");
                let swallows = matches!(trouble, Trouble::BlackHole);
                self.disturb(link, trouble);
                self.away(&name, time, long && swallows).await;
                link.heal();
            }
            Fault::Clients(trouble) => {
                self.disturb(clients, trouble);
                sleep(time).await;
                clients.heal();
            }
            Fault::RemoveContainer => {
                if let Some(id) = engine::running(&name).await.first() {
                    engine::remove(id).await;
                }
            }
        }
        self.measure(stack);
        sleep(Duration::from_millis(self.random.random_range(500..6_000))).await;
    }

    fn draw(&mut self) -> Fault {
        let trouble = TROUBLES[self.random.random_range(0..TROUBLES.len())];
        match self.random.random_range(0..20) {
            0..3 => Fault::KillWorker,
            3..5 => Fault::FreezeWorker,
            5 => Fault::EndWorker,
            6..9 => Fault::KillMaster,
            9 => Fault::FreezeMaster,
            10 => Fault::EndMaster,
            11..16 => Fault::Link(trouble),
            16..18 => Fault::Clients(trouble),
            _ => Fault::RemoveContainer,
        }
    }

    fn disturb(&mut self, link: &Proxy, trouble: Trouble) {
        match trouble {
            Trouble::Cut => link.cut(),
            Trouble::CutOften => link.set(Toxic::CutAfter(self.random.random_range(1..30_000))),
            Trouble::BlackHole => link.set(Toxic::BlackHole),
            Trouble::Slow => {
                let time = Duration::from_millis(self.random.random_range(10..800));
                link.set(Toxic::Latency(time));
            }
            Trouble::DropAnswers => link.set(Toxic::DropAnswers),
            Trouble::HalfOpen => link.set(Toxic::HalfOpen),
            Trouble::Trickle => link.set(Toxic::Trickle(self.random.random_range(1..200))),
        }
    }

    /// Cuts a worker off from renewing its leases for this time. If that is longer than the lease, its
    /// containers must be gone when the last lease ends.
    async fn away(&self, worker: &str, time: Duration, longer_than_lease: bool) {
        let worker: WorkerName = worker.parse().expect("a worker has a worker's name");
        let (running, from) = (self.recorder.running_on(&worker), self.recorder.now());
        sleep(time).await;
        if longer_than_lease {
            for (job, attempt) in running {
                let until = from + self.lease;
                self.recorder.record(What::LeaseUntil { job, attempt, until });
            }
        }
    }

    /// Records the current resource use of all programs.
    pub fn measure(&self, stack: &mut Stack) {
        self.measure_in(stack, Phase::During);
    }

    /// The same, in the given phase.
    pub fn measure_in(&self, stack: &mut Stack, phase: Phase) {
        measure::record(&self.recorder, "master", stack.master(), phase);
        for worker in &stack.workers {
            measure::record(&self.recorder, &worker.name, &worker.program, phase);
        }
    }
}

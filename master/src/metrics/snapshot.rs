//! The current state of the master, its queues and its workers, read at each scrape. Queues and
//! workers that no longer exist drop out.

use std::collections::BTreeMap;

use orchestra_contracts::worker::{Calls, Stats};
use prometheus::{CounterVec, GaugeVec, IntCounterVec, Opts, Registry, proto::MetricFamily};

use super::{MOST_NAMES, Process, names::OTHER, registered, seconds};

/// The values that are read at a scrape instead of being counted.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Whether the database answered. If not, `queues` and `workers` are empty.
    pub store_usable: bool,
    pub started_at: f64,
    pub queues: Vec<QueueState>,
    pub workers: Vec<WorkerState>,
    /// Pending webhook messages, counted up to a bound.
    pub untold: u64,
    pub process: Process,
    /// Open log readers and waiting requests, and their maximum.
    pub streams: (usize, usize),
    /// Number of calls with a lost lease, by kind of call.
    pub stale: [(&'static str, u64); 4],
}

/// One queue at the time of the scrape.
#[derive(Clone, Debug, Default)]
pub struct QueueState {
    pub name: String,
    pub pending: u64,
    pub running: u64,
    pub workers: u64,
    pub paused: bool,
    /// Age of its oldest pending job, in seconds.
    pub oldest: Option<f64>,
}

/// One worker at the time of the scrape.
#[derive(Clone, Debug, Default)]
pub struct WorkerState {
    pub name: String,
    /// `online`, `draining`, `unwell` or `away`.
    pub state: &'static str,
    pub slots: u64,
    pub running: u64,
    pub stats: Option<Box<Stats>>,
}

/// The states of a worker.
const STATES: [&str; 4] = ["online", "draining", "unwell", "away"];

impl Snapshot {
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        let sheet = Sheet(Registry::new());
        sheet
            .gauge("orchestra_build_info", "The version of this master.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        let alone = |name, help, value: f64| {
            sheet.gauge(name, help, &[]).with_label_values::<&str>(&[]).set(value);
        };
        alone(
            "orchestra_start_time_seconds",
            "When this master started, in seconds since 1970.",
            self.started_at,
        );
        alone(
            "orchestra_store_usable",
            "Whether the database could be read just now.",
            f64::from(self.store_usable),
        );
        alone(
            "orchestra_streams",
            "Requests that read a log or wait for a job.",
            count(self.streams.0 as u64),
        );
        alone("orchestra_streams_limit", "So many may at once.", count(self.streams.1 as u64));
        if self.store_usable {
            alone(
                "orchestra_webhook_deliveries_waiting",
                "Messages to webhooks that wait for a try; no more are counted than 10,000.",
                count(self.untold),
            );
        }
        let late = sheet.counter(
            "orchestra_stale_calls_total",
            "Calls of workers that were refused because their lease was lost.",
            &["call"],
        );
        for (call, counted) in self.stale {
            late.with_label_values(&[call]).inc_by(counted);
        }
        self.process(&sheet);
        self.queues(&sheet);
        self.workers(&sheet);
        self.engines(&sheet);
        sheet.0.gather()
    }

    fn process(&self, sheet: &Sheet) {
        let process = self.process;
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Memory of this process that is in the machine's.",
                process.resident.map(count),
            ),
            (
                "process_virtual_memory_bytes",
                "Address space of this process.",
                process.virtual_size.map(count),
            ),
            ("process_open_fds", "Open files and connections.", process.open_files.map(count)),
            ("process_max_fds", "So many may be open.", process.most_open_files.map(count)),
            (
                "process_start_time_seconds",
                "When this process started, in seconds since 1970.",
                process.started_seconds,
            ),
        ] {
            if let Some(value) = value {
                sheet.gauge(name, help, &[]).with_label_values::<&str>(&[]).set(value);
            }
        }
        if let Some(spent) = process.cpu_seconds {
            let help = "Time of processors that this process has taken.";
            let cpu = CounterVec::new(Opts::new("process_cpu_seconds_total", help), &[]);
            registered(&sheet.0, cpu).with_label_values::<&str>(&[]).inc_by(spent);
        }
    }

    fn queues(&self, sheet: &Sheet) {
        let gauge = |name, help| sheet.gauge(name, help, &["queue"]);
        let pending = gauge("orchestra_queue_pending_jobs", "Jobs that wait.");
        let running = gauge("orchestra_queue_running_jobs", "Jobs that workers hold.");
        let workers = gauge("orchestra_queue_workers", "Workers online that serve it.");
        let paused = gauge("orchestra_queue_paused", "Whether it is paused.");
        let oldest = gauge(
            "orchestra_queue_oldest_pending_seconds",
            "Since its oldest pending job was submitted; 0 without one.",
        );
        for (place, queue) in self.queues.iter().enumerate() {
            let name = [if place < MOST_NAMES { queue.name.as_str() } else { OTHER }];
            pending.with_label_values(&name).add(count(queue.pending));
            running.with_label_values(&name).add(count(queue.running));
            workers.with_label_values(&name).add(count(queue.workers));
            paused.with_label_values(&name).add(f64::from(queue.paused));
            let longest = oldest.with_label_values(&name);
            longest.set(longest.get().max(queue.oldest.unwrap_or_default()));
        }
    }

    fn workers(&self, sheet: &Sheet) {
        let all = sheet.gauge(
            "orchestra_workers",
            "Workers that ever registered, by how they stand.",
            &["state"],
        );
        for state in STATES {
            let there = self.workers.iter().filter(|worker| worker.state == state).count();
            all.with_label_values(&[state]).set(count(there as u64));
        }
        let gauge = |name, help| sheet.gauge(name, help, &["worker"]);
        let slots = gauge("orchestra_worker_slots", "So many jobs it runs at once.");
        let running = gauge("orchestra_worker_running_jobs", "Jobs that it holds.");
        let ready = gauge("orchestra_worker_warm_sandboxes", "Sandboxes that wait for jobs.");
        let counter = |name, help| sheet.counter(name, help, &["worker"]);
        let hits =
            counter("orchestra_worker_warm_hits_total", "Jobs that found a sandbox waiting.");
        let misses =
            counter("orchestra_worker_warm_misses_total", "Jobs that had a sandbox made for them.");
        for (name, worker) in self.there() {
            slots.with_label_values(&[name]).add(count(worker.slots));
            running.with_label_values(&[name]).add(count(worker.running));
            let Some(pool) = worker.stats.as_ref().and_then(|stats| stats.pool) else { continue };
            ready.with_label_values(&[name]).add(count(pool.ready));
            hits.with_label_values(&[name]).inc_by(pool.hits);
            misses.with_label_values(&[name]).inc_by(pool.misses);
        }
    }

    fn engines(&self, sheet: &Sheet) {
        let labels = ["worker", "call"];
        let calls = sheet.counter(
            "orchestra_worker_engine_calls_total",
            "Calls of its container engine.",
            &labels,
        );
        let failed = sheet.counter(
            "orchestra_worker_engine_failures_total",
            "Calls of its container engine that failed or were not answered in time.",
            &labels,
        );
        let times = Opts::new(
            "orchestra_worker_engine_seconds_total",
            "How long these calls took together.",
        );
        let times = registered(&sheet.0, CounterVec::new(times, &labels));
        let mut sums = BTreeMap::<(&str, &str), Calls>::new();
        for (name, worker) in self.there() {
            for (call, counted) in worker.stats.iter().flat_map(|stats| &stats.engine) {
                let sum = sums.entry((name, call)).or_default();
                sum.count = sum.count.saturating_add(counted.count);
                sum.failed = sum.failed.saturating_add(counted.failed);
                sum.total_ms = sum.total_ms.saturating_add(counted.total_ms);
            }
        }
        for ((name, call), sum) in sums {
            calls.with_label_values(&[name, call]).inc_by(sum.count);
            failed.with_label_values(&[name, call]).inc_by(sum.failed);
            times.with_label_values(&[name, call]).inc_by(seconds(sum.total_ms));
        }
    }

    /// The workers that are not away. Those after the first [`MOST_NAMES`] get the shared name.
    fn there(&self) -> impl Iterator<Item = (&str, &WorkerState)> {
        let there = self.workers.iter().filter(|worker| worker.state != "away").enumerate();
        there.map(|(place, worker)| {
            (if place < MOST_NAMES { worker.name.as_str() } else { OTHER }, worker)
        })
    }
}

/// The registry for one scrape.
struct Sheet(Registry);

impl Sheet {
    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        registered(&self.0, GaugeVec::new(Opts::new(name, help), labels))
    }

    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        registered(&self.0, IntCounterVec::new(Opts::new(name, help), labels))
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn count(number: u64) -> f64 {
    number as f64
}

//! The master's metrics, in the text format of Prometheus. Only this module depends on the
//! `prometheus` crate.
//!
//! * [`Metrics`] holds counters and histograms. Recording never waits.
//! * [`Snapshot`] holds gauges that are read at each scrape.
//! * [`History`] is the last hour, for the web page.
//! * `names` bounds the number of time series, whatever people call their queues.

mod history;
mod names;
mod process;
mod snapshot;

use std::{fmt, time::Instant};

use jiff::Timestamp;
use orchestra_contracts::{DeliveryState, Outcome, Usage};
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
    TextEncoder, core::Collector,
};

use self::names::Names;

pub use history::{End, History, MINUTES, Minute, Waits};
pub use process::Process;
pub use snapshot::{QueueState, Snapshot, WorkerState};

/// Number of queues, and of workers, with their own time series. All others share one.
pub const MOST_NAMES: usize = 100;

/// Buckets in seconds. Jobs wait from milliseconds to days.
const WAITS: [f64; 12] =
    [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 28_800.0, 86_400.0];
/// A warm start takes milliseconds, one that builds an image minutes.
const STARTS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];
/// A commit takes a fraction of a millisecond, or seconds on a failing disk.
const COMMITS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Counters and histograms since the start of the master.
pub struct Metrics {
    registry: Registry,
    queues: Names,
    submitted: IntCounterVec,
    claims: IntCounterVec,
    claimed: IntCounterVec,
    attempts: IntCounterVec,
    leases_lost: IntCounter,
    log_bytes: IntCounter,
    requests: IntCounterVec,
    store_failures: IntCounterVec,
    deliveries: IntCounterVec,
    queued: Histogram,
    started: Histogram,
    ran: Histogram,
    store: HistogramVec,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let counters = |name, help, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let counter = |name, help| registered(&registry, IntCounter::new(name, help));
        let times = |name, help, bounds: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
            registered(&registry, Histogram::with_opts(options))
        };
        let commits = HistogramOpts::new(
            "orchestra_store_seconds",
            "How long calls of the database took, the wait for the commit included.",
        );
        let commits = HistogramVec::new(commits.buckets(COMMITS.to_vec()), &["call"]);
        let metrics = Self {
            queues: Names::new(MOST_NAMES),
            submitted: counters(
                "orchestra_jobs_submitted_total",
                "Jobs that were submitted.",
                &["queue"],
            ),
            claims: counters(
                "orchestra_claims_total",
                "Claims of workers, by what was answered: jobs, none, or that it failed.",
                &["answer"],
            ),
            claimed: counters(
                "orchestra_jobs_claimed_total",
                "Jobs that were handed out.",
                &["queue"],
            ),
            attempts: counters(
                "orchestra_attempts_total",
                "Attempts that have ended, by their outcome.",
                &["outcome"],
            ),
            leases_lost: counter(
                "orchestra_leases_lost_total",
                "Leases that ran out: their workers stopped answering.",
            ),
            log_bytes: counter(
                "orchestra_log_bytes_total",
                "Bytes of logs that were uploaded, encoded.",
            ),
            requests: counters(
                "orchestra_http_requests_total",
                "Requests that were answered, by route and class of status.",
                &["method", "route", "status"],
            ),
            store_failures: counters(
                "orchestra_store_failures_total",
                "Calls of the database that failed.",
                &["call"],
            ),
            deliveries: counters(
                "orchestra_webhook_deliveries_total",
                "Messages to webhooks that this master sent, by what became of them.",
                &["result"],
            ),
            queued: times(
                "orchestra_queue_seconds",
                "From the submission of a job, or the time it was put off to, to its first claim.",
                &WAITS,
            ),
            started: times(
                "orchestra_start_seconds",
                "From the claim of an attempt to its command, its image included, as its worker measured.",
                &STARTS,
            ),
            ran: times("orchestra_run_seconds", "How long the commands of attempts ran.", &WAITS),
            store: registered(&registry, commits),
            registry,
        };
        // Events that have not happened yet are exported as 0, so that the first one shows as an
        // increase.
        for kind in Outcome::KINDS {
            metrics.attempts.with_label_values(&[kind]);
        }
        for answer in ["jobs", "none", "failed"] {
            metrics.claims.with_label_values(&[answer]);
        }
        for state in [DeliveryState::Delivered, DeliveryState::Pending, DeliveryState::GivenUp] {
            metrics.deliveries.with_label_values(&[result(state)]);
        }
        metrics
    }
}

/// Cannot fail: the names are constants, and each is registered once.
fn registered<T: Collector + Clone + 'static>(
    registry: &Registry,
    made: Result<T, prometheus::Error>,
) -> T {
    let collector = made.expect("the name and the labels are well formed");
    registry.register(Box::new(collector.clone())).expect("the name is given once");
    collector
}

impl Metrics {
    pub fn submitted<'a>(&self, queues: impl Iterator<Item = &'a str>) {
        for queue in queues {
            self.submitted.with_label_values(&[&self.queues.of(queue)]).inc();
        }
    }

    /// Records the answer to a claim: for each job its queue and, if this is its first claim, when
    /// it became claimable and when it was claimed.
    pub fn claimed(&self, jobs: &[(&str, Option<(Timestamp, Timestamp)>)]) {
        self.claims.with_label_values(&[if jobs.is_empty() { "none" } else { "jobs" }]).inc();
        for (queue, times) in jobs {
            self.claimed.with_label_values(&[&self.queues.of(queue)]).inc();
            if let Some((since, at)) = times {
                self.queued.observe(at.duration_since(*since).as_secs_f64().max(0.0));
            }
        }
    }

    pub fn claim_failed(&self) {
        self.claims.with_label_values(&["failed"]).inc();
    }

    /// Records the end of an attempt. The usage is what its worker reported.
    pub fn ended(&self, outcome: &Outcome, usage: Option<&Usage>) {
        self.attempts.with_label_values(&[outcome.kind()]).inc();
        if *outcome == Outcome::Lost {
            self.leases_lost.inc();
        }
        let Some(usage) = usage else { return };
        self.ran.observe(seconds(usage.wall_ms));
        if let (Some(image), Some(start)) = (usage.image_ms, usage.start_ms) {
            self.started.observe(seconds(image.saturating_add(start)));
        }
    }

    pub fn log_uploaded(&self, bytes: u64) {
        self.log_bytes.inc_by(bytes);
    }

    /// Records one delivery attempt of a webhook message.
    pub fn told(&self, state: DeliveryState) {
        self.deliveries.with_label_values(&[result(state)]).inc();
    }

    /// Records a response. `route` is the pattern as registered, never the requested path.
    pub fn answered(&self, method: &str, route: &str, status: u16) {
        let class = match status {
            ..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.requests.with_label_values(&[method, route, class]).inc();
    }

    /// Awaits a database call, and records its duration and whether it failed.
    pub async fn stored<T, E>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = Instant::now();
        let done = work.await;
        self.store.with_label_values(&[call]).observe(begun.elapsed().as_secs_f64());
        if done.is_err() {
            self.store_failures.with_label_values(&[call]).inc();
        }
        done
    }

    /// All metrics as text, the snapshot included.
    pub fn text(&self, snapshot: &Snapshot) -> String {
        let mut families = self.registry.gather();
        families.extend(snapshot.gather());
        families.sort_by(|one, other| one.name().cmp(other.name()));
        let mut text = Vec::new();
        // Writing to memory does not fail, and every family has samples.
        let encoded = TextEncoder::new().encode(&families, &mut text);
        encoded.map(|()| String::from_utf8(text).unwrap_or_default()).unwrap_or_default()
    }
}

/// The result label of a delivery attempt.
fn result(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Delivered => "delivered",
        DeliveryState::Pending => "failed",
        DeliveryState::GivenUp => "given_up",
    }
}

fn seconds(millis: u64) -> f64 {
    ratio(millis, 1000)
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts milliseconds of millennia")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

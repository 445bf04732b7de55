//! Clients that submit, cancel, delete, read and follow jobs, and tolerate faults.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use orchestra_contracts::JobId;
use orchestra_tests::{
    Proxy,
    chaos::{Caller, Drawn, Kind, Mix, Recorder, follow},
    check::{What, Wish},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// How many jobs are queued or running at once.
const OUTSTANDING: usize = 14;
const PAUSE: Duration = Duration::from_millis(500);
/// How long a client keeps asking after the last fault.
const PATIENCE: Duration = Duration::from_mins(5);

pub(crate) struct Load {
    mix: Mix,
    caller: Caller,
    recorder: Recorder,
    /// All drawn jobs, by the number of their submission.
    pub(crate) drawn: BTreeMap<u64, Drawn>,
    pub(crate) kinds: BTreeMap<Kind, usize>,
    clients: JoinSet<()>,
    running: Arc<AtomicU64>,
}

impl Load {
    pub(crate) fn new(seed: u64, through: &Proxy, recorder: Recorder) -> Self {
        let caller = Caller::new(format!("http://{}", through.address), recorder.clone());
        Self {
            mix: Mix::new(seed),
            caller,
            recorder,
            drawn: BTreeMap::new(),
            kinds: BTreeMap::new(),
            clients: JoinSet::new(),
            running: Arc::default(),
        }
    }

    /// Submits until `end`.
    pub(crate) async fn run_until(mut self, end: Instant) -> Self {
        while Instant::now() < end {
            if self.running.load(Ordering::Relaxed) < OUTSTANDING as u64 {
                self.one(end + PATIENCE);
            }
            while self.clients.try_join_next().is_some() {}
            sleep_until((Instant::now() + self.mix.pause()).min(end)).await;
        }
        self
    }

    /// Runs this many more jobs to their end.
    pub(crate) async fn calm(&mut self, count: usize) {
        for _ in 0..count {
            while self.running.load(Ordering::Relaxed) >= OUTSTANDING as u64 {
                sleep(PAUSE / 10).await;
            }
            self.one(Instant::now() + PATIENCE);
        }
        self.finish(Instant::now() + PATIENCE).await;
    }

    /// Waits for all clients until the deadline; returns how many were left then.
    pub(crate) async fn finish(&mut self, deadline: Instant) -> usize {
        while !self.clients.is_empty() && Instant::now() < deadline {
            tokio::select! {
                ended = self.clients.join_next() => {
                    ended.expect("there is one").expect("clients do not panic");
                }
                () = sleep_until(deadline) => {}
            }
        }
        let left = self.clients.len();
        self.clients.shutdown().await;
        self.running.store(0, Ordering::Relaxed);
        left
    }

    fn one(&mut self, deadline: Instant) {
        let drawn = self.mix.draw();
        let request = self.drawn.len() as u64 + 1;
        self.drawn.insert(request, drawn.clone());
        *self.kinds.entry(drawn.kind).or_default() += 1;
        let followed = self.mix.is_followed();
        let (caller, recorder) = (self.caller.clone(), self.recorder.clone());
        let running = self.running.clone();
        running.fetch_add(1, Ordering::Relaxed);
        self.clients.spawn(async move {
            if let Some(id) = caller.submit(request, drawn.spec.clone(), drawn.plan.clone()).await {
                let looking = look(&caller, id, deadline);
                let wishing = wish(&caller, id, drawn.wish);
                let following = async {
                    if followed && let Some(seen) = follow(&caller, id, deadline).await {
                        recorder.record(seen);
                    }
                };
                tokio::join!(looking, wishing, following);
            }
            running.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Records the expected output of jobs whose id is known only now.
    pub(crate) fn record_content(&self, job: JobId, request: u64) {
        if let Some(drawn) = self.drawn.get(&request) {
            let content = drawn.content.clone();
            self.recorder.record(What::Wrote { job, attempt: None, content });
        }
    }
}

async fn wish(caller: &Caller, id: JobId, wish: Option<(Wish, Duration)>) {
    let Some((wish, after)) = wish else { return };
    sleep(after).await;
    caller.wish(id, wish).await;
}

/// Polls a job until it has finished or no longer exists.
async fn look(caller: &Caller, id: JobId, deadline: Instant) {
    while Instant::now() < deadline {
        match caller.look(id).await {
            Some(job) if job.status.is_final() => return,
            None if caller.is_gone(id).await => return,
            _ => sleep(PAUSE).await,
        }
    }
}

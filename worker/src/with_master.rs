//! Workers with scripted jobs against a real master, over HTTP.

mod way_out;

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use futures::TryStreamExt;
use orchestra_client::{Client, LogQuery};
use orchestra_contracts::{Job, JobSpec, JobStatus, Outcome, WorkerName, frame::Stream};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::*;
use crate::testing::{Cutter, ScriptedExecutor, worker};

#[derive(Parser)]
struct MasterProgram {
    #[command(flatten)]
    config: orchestra_master::Config,
}

struct House {
    address: SocketAddr,
    client: Client,
    workers: Vec<CancellationToken>,
    master: CancellationToken,
    tasks: JoinSet<()>,
    masters: JoinSet<()>,
    _data: TempDir,
}

/// Generous, because the machine may be busy.
const SOON: Duration = Duration::from_mins(1);

impl House {
    async fn open() -> Self {
        Self::with_leases_of("60s").await
    }

    async fn with_leases_of(lease: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        Self::at(listener, client, &["--lease", lease])
    }

    /// A master on this socket, with these flags.
    fn at(listener: TcpListener, client: Client, flags: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().display().to_string();
        let usual = ["master", "--data", &folder, "--retry-backoff", "10ms"];
        let config = MasterProgram::parse_from([&usual[..], flags].concat()).config;
        let address = listener.local_addr().unwrap();
        let master = CancellationToken::new();
        let mut masters = JoinSet::new();
        let serving = orchestra_master::run(listener, config, master.clone());
        masters.spawn(async { serving.await.unwrap() });
        let (workers, tasks) = (Vec::new(), JoinSet::new());
        Self { address, client, workers, master, tasks, masters, _data: data }
    }

    /// A worker that reaches its master at `address`.
    fn worker_at(&mut self, address: SocketAddr, name: &str, slots: u32) -> Arc<ScriptedExecutor> {
        let client = Client::new(&format!("http://{address}")).unwrap();
        let (serving, executor) = scripted(client, name, slots);
        let stop = CancellationToken::new();
        self.tasks.spawn(serving.serve(stop.clone(), CancellationToken::new()));
        self.workers.push(stop);
        executor
    }

    fn worker(&mut self, name: &str, slots: u32) -> Arc<ScriptedExecutor> {
        self.worker_at(self.address, name, slots)
    }

    async fn submit(&self, script: &str) -> Job {
        self.client.submit(&JobSpec::new(script)).await.unwrap()
    }

    async fn ended(&self, job: &Job) -> Job {
        timeout(SOON, self.client.wait(job.id)).await.expect("it ends soon").unwrap()
    }

    async fn running(&self, job: &Job) -> Job {
        let look = async {
            loop {
                let job = self.client.job(job.id).await.unwrap();
                if job.status == JobStatus::Running {
                    return job;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, look).await.expect("it runs soon")
    }

    async fn log(&self, job: &Job) -> String {
        let query = LogQuery { stream: Some(Stream::Stdout), ..LogQuery::default() };
        let text = self.client.log_text(job.id, &query).await.unwrap();
        let pieces: Vec<_> = text.try_collect().await.unwrap();
        String::from_utf8(pieces.concat()).unwrap()
    }

    /// Stops the workers first, so that they can hand back.
    async fn close(self) {
        for worker in &self.workers {
            worker.cancel();
        }
        timeout(SOON, self.tasks.join_all()).await.expect("workers end");
        self.master.cancel();
        timeout(SOON, self.masters.join_all()).await.expect("the master ends");
    }
}

/// One that is still to be served.
fn scripted(client: Client, name: &str, slots: u32) -> (Worker, Arc<ScriptedExecutor>) {
    let executor = Arc::<ScriptedExecutor>::default();
    let registration = Registration {
        slots,
        queues: vec!["default".to_owned()],
        version: "test".to_owned(),
        ..Registration::default()
    };
    let terms = Terms { name: worker(name), registration, grace: Duration::ZERO };
    (Worker::new(Arc::new(client), executor.clone(), terms), executor)
}

fn counted(lines: u64) -> String {
    let lines: Vec<_> = (1..=lines).map(|line| format!("{line}\n")).collect();
    lines.concat()
}

#[tokio::test]
async fn jobs_are_shared_by_workers_and_slots() {
    let mut house = House::open().await;
    let executors = [house.worker("one", 2), house.worker("two", 2)];
    let mut jobs = Vec::new();
    for number in 0..40 {
        jobs.push(house.submit(&format!("say {number}; exit {}", number % 2)).await);
    }
    for (number, job) in jobs.iter().enumerate() {
        let job = house.ended(job).await;
        assert_eq!(job.exit_code, Some((number % 2) as i32));
        assert_eq!(job.output, format!("{number}\n"));
        let by: WorkerName = job.assigned_worker.unwrap();
        assert!(["one", "two"].contains(&by.as_str()));
    }
    assert!(executors.iter().all(|executor| executor.most_at_once() <= 2));
    house.close().await;
}

#[tokio::test]
async fn a_failed_job_is_tried_again() {
    let mut house = House::open().await;
    house.worker("one", 1);
    let spec = JobSpec { max_retries: 2, ..JobSpec::new("say trying; fail-first; say done") };
    let job = house.client.submit(&spec).await.unwrap();
    let job = house.ended(&job).await;
    assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 1));
    assert_eq!(house.log(&job).await, "trying\ntrying\ndone\n");
    house.close().await;
}

#[tokio::test]
async fn a_running_job_is_cancelled() {
    let mut house = House::open().await;
    let executor = house.worker("one", 1);
    let job = house.submit("say hi; hang").await;
    house.running(&job).await;
    let asked = std::time::Instant::now();
    house.client.cancel(job.id).await.unwrap();
    let job = house.ended(&job).await;
    assert_eq!(job.outcome, Some(Outcome::Cancelled));
    // The next heartbeat would have been a quarter of a lease away.
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(executor.running(), 0);
    house.close().await;
}

#[tokio::test]
async fn a_job_outlives_its_first_lease() {
    let mut house = House::with_leases_of("4s").await;
    house.worker("one", 1);
    let job = house.submit("hang").await;
    house.running(&job).await;
    // Longer than a lease: without heartbeats the attempt would be over.
    sleep(Duration::from_secs(6)).await;
    let job = house.client.job(job.id).await.unwrap();
    assert_eq!((job.status, job.attempt.unwrap().0), (JobStatus::Running, 1));
    house.client.cancel(job.id).await.unwrap();
    house.ended(&job).await;
    house.close().await;
}

#[tokio::test]
async fn what_a_stopping_worker_hands_back_runs_elsewhere_at_once() {
    let mut house = House::open().await;
    house.worker("one", 1);
    let job = house.submit("say hi; hang").await;
    house.running(&job).await;
    house.workers[0].cancel();
    house.worker("two", 1);
    let again = async {
        loop {
            let job = house.running(&job).await;
            if job.assigned_worker == Some(worker("two")) {
                return job;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let job = timeout(SOON, again).await.expect("it moves soon");
    assert_eq!(job.retry_count, 0, "it costs the job nothing");
    house.client.cancel(job.id).await.unwrap();
    house.ended(&job).await;
    house.close().await;
}

#[tokio::test]
async fn the_log_is_exact_however_often_the_connection_breaks() {
    const LINES: u64 = 20_000;
    let mut house = House::open().await;
    let cutter = Cutter::before(house.address, 20).await;
    house.worker_at(cutter.address, "one", 2);
    let jobs = [
        house.submit(&format!("count {LINES}")).await,
        house.submit(&format!("count {LINES}")).await,
    ];
    for job in &jobs {
        let job = house.ended(job).await;
        assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 0));
        assert_eq!(job.attempt.unwrap().0, 1, "no break costs an attempt");
        assert!(house.log(&job).await == counted(LINES), "the log differs");
    }
    assert!(cutter.cuts() >= 10, "only {} connections were cut", cutter.cuts());
    house.close().await;
}

#[tokio::test]
async fn the_list_of_workers_tells_who_is_unwell_and_why() {
    let mut house = House::open().await;
    let executor = house.worker("one", 1);
    let told = async |wanted: Option<&str>| {
        let look = async {
            loop {
                let workers = house.client.workers().await.unwrap();
                if workers.len() == 1 && workers[0].unwell.as_deref() == wanted {
                    return workers[0].online;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(SOON, look).await.expect("it is told soon"), "it is online all the same");
    };
    told(None).await;
    executor.ail(Some("no container engine"));
    told(Some("no container engine")).await;
    let job = house.submit("say hi").await;
    // Longer than a claim takes: a healthy worker would have the job by then.
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(house.client.job(job.id).await.unwrap().status, JobStatus::Pending);
    executor.ail(None);
    assert_eq!(house.ended(&job).await.status, JobStatus::Completed);
    told(None).await;
    house.close().await;
}

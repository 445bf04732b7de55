//! A master and a worker in this process: for `up`, and for a `run` that finds
//! no master. The worker ends before the master, so that it can report.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;
use orchestra_client::Client;
use orchestra_contracts::WorkerName;
use orchestra_master::MasterError;
use orchestra_program::Signals;
use orchestra_worker::{Credentials, WorkerError};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{args::url_of, clock, failure::Failure};

/// Between two looks for the worker's registration.
const LOOK: Duration = Duration::from_millis(20);

/// Settings of both. What the command line does not say comes from the environment.
#[derive(Debug, Parser)]
#[command(name = "orchestra", no_binary_name = true)]
pub(crate) struct Settings {
    #[command(flatten, next_help_heading = "The master")]
    master: orchestra_master::Config,

    #[command(flatten, next_help_heading = "The worker")]
    pub(crate) worker: orchestra_worker::Config,
}

impl Settings {
    /// From these arguments and the environment.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        Ok(Self::try_parse_from(arguments)?)
    }
}

#[derive(Debug)]
pub(crate) struct Local {
    client: Client,
    worker: WorkerName,
    worker_files: PathBuf,
    master_stop: CancellationToken,
    worker_stop: CancellationToken,
    worker_kill: CancellationToken,
    running: JoinSet<Ended>,
}

#[derive(Debug)]
enum Ended {
    Master(Result<(), MasterError>),
    Worker(Result<(), WorkerError>),
}

impl Local {
    /// Starts both, and returns when the worker has registered with the master.
    pub(crate) async fn start(settings: Settings) -> Result<Self, Failure> {
        let Settings { mut master, mut worker } = settings;
        if master.tls_cert.is_some() {
            return Err(Failure::said(
                "a master and a worker in one program speak no TLS; run `orchestra master` and \
                 `orchestra worker`, or take ORCHESTRA_TLS_CERT away",
            ));
        }
        let listener = orchestra_master::bind(&master).await?;
        let address = listener.local_addr()?;
        worker.url = url_of(address);
        // Whatever ORCHESTRA_TOKEN is for, it is not for this master.
        let token = orchestra_master::service::new_token();
        worker.credentials = Credentials::with(token.clone());
        master.lent = Some(token);
        let mut local = Self {
            client: worker.credentials.client(&worker.url)?,
            worker: worker.name.clone(),
            worker_files: worker.worker_files.clone(),
            master_stop: CancellationToken::new(),
            worker_stop: CancellationToken::new(),
            worker_kill: CancellationToken::new(),
            running: JoinSet::new(),
        };
        let stop = local.master_stop.clone();
        local.running.spawn(async move {
            Ended::Master(orchestra_master::run(listener, master, stop).await)
        });
        let (stop, kill) = (local.worker_stop.clone(), local.worker_kill.clone());
        local.running.spawn(async move {
            Ended::Worker(orchestra_worker::run_until(worker, stop, kill).await)
        });
        let (client, name) = (local.client.clone(), local.worker.clone());
        let failed = tokio::select! {
            () = registration(&client, &name) => None,
            failure = local.failed() => Some(failure),
        };
        match failed {
            None => Ok(local),
            Some(failure) => {
                // What the other one says about being left alone is of no interest.
                let _ = local.end().await;
                Err(failure)
            }
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn worker(&self) -> &WorkerName {
        &self.worker
    }

    /// As an absolute path where that can be told.
    pub(crate) fn worker_files(&self) -> PathBuf {
        let path: &Path = &self.worker_files;
        path.canonicalize().unwrap_or_else(|_| path.to_owned())
    }

    /// Returns when either of them ended although nobody asked it to; the other
    /// one is then told to end, too.
    pub(crate) async fn failed(&mut self) -> Failure {
        let ended = self.running.join_next().await;
        self.master_stop.cancel();
        // Without a master there is nobody to whom jobs could be handed back.
        self.worker_kill.cancel();
        match ended {
            Some(Ok(Ended::Master(Err(error)))) => error.into(),
            Some(Ok(Ended::Worker(Err(error)))) => error.into(),
            Some(Ok(Ended::Master(Ok(())))) => Failure::said("the master has ended by itself"),
            Some(Ok(Ended::Worker(Ok(())))) => Failure::said("the worker has ended by itself"),
            Some(Err(crash)) => Failure::said(format!("a part of Orchestra crashed: {crash}")),
            None => Failure::said("neither master nor worker is running"),
        }
    }

    /// Lets jobs go on for the worker's grace time, then ends both. The next
    /// signal ends the jobs at once, one more gives up on an orderly end.
    pub(crate) async fn stop(mut self, signals: &mut Signals) -> Result<(), Failure> {
        self.worker_stop.cancel();
        let kill = self.worker_kill.clone();
        tokio::select! {
            ended = self.end() => ended,
            () = async { signals.next().await; kill.cancel(); signals.next().await } => Ok(()),
        }
    }

    /// Like [`Local::stop`], with jobs ended at once.
    pub(crate) async fn kill(self, signals: &mut Signals) -> Result<(), Failure> {
        self.worker_kill.cancel();
        self.stop(signals).await
    }

    async fn end(&mut self) -> Result<(), Failure> {
        self.worker_stop.cancel();
        let mut first = Ok(());
        while let Some(ended) = self.running.join_next().await {
            let ended = match ended {
                Ok(Ended::Master(ended)) => ended.map_err(Failure::from),
                Ok(Ended::Worker(ended)) => ended.map_err(Failure::from),
                Err(crash) => Err(Failure::said(format!("a part of Orchestra crashed: {crash}"))),
            };
            first = first.and(ended);
            // Whichever it was: without a worker there is nothing to wait for.
            self.master_stop.cancel();
        }
        first
    }
}

/// Waits until the master knows the worker, as it is now and not from another day.
async fn registration(client: &Client, name: &WorkerName) {
    let start = clock::now().as_millisecond();
    loop {
        // Until the master is up this fails, and whatever keeps it down is told by itself.
        let workers = client.workers().await.unwrap_or_default();
        if workers.iter().any(|w| w.name == *name && w.seen_at.as_millisecond() >= start) {
            return;
        }
        sleep(LOOK).await;
    }
}

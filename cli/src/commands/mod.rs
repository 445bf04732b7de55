//! One file a verb: its arguments, and what it does.

pub(crate) mod admin;
pub(crate) mod artifacts;
pub(crate) mod cancel;
pub(crate) mod changes;
pub(crate) mod completion;
pub(crate) mod doctor;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod images;
pub(crate) mod logs;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod master;
pub(crate) mod queues;
pub(crate) mod repro;
pub(crate) mod retry;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod submit;
pub(crate) mod token;
pub(crate) mod top;
pub(crate) mod up;
pub(crate) mod wait;
pub(crate) mod webhooks;
pub(crate) mod worker;
pub(crate) mod workers;

use orchestra_client::Client;
use orchestra_contracts::JobId;

use crate::{args::Command, exit::Exit, failure::Failure, jobref::JobRef, output};

pub(crate) async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(run) => run::run(run).await,
        Command::Submit(submit) => submit::submit(submit).await,
        Command::Ls(ls) => ls::ls(ls).await,
        Command::Get(get) => get::get(get).await,
        Command::Logs(logs) => logs::logs(logs).await,
        Command::Artifacts(artifacts) => artifacts::artifacts(artifacts).await,
        Command::Changes(changes) => changes::changes(changes).await,
        Command::Wait(wait) => wait::wait(wait).await,
        Command::Cancel(cancel) => cancel::cancel(cancel).await,
        Command::Repro(repro) => repro::repro(repro).await,
        Command::Retry(retry) => retry::retry(retry).await,
        Command::Rm(rm) => rm::rm(rm).await,
        Command::Workers(workers) => workers::workers(workers).await,
        Command::Explain(explain) => explain::explain(explain).await,
        Command::Queues(queues) => queues::queues(queues).await,
        Command::Schedule(schedule) => schedule::schedule(schedule).await,
        Command::Drain(drain) => drain::drain(drain).await,
        Command::Up(up) => up::up(*up).await,
        Command::Master(master) => master::master(master).await,
        Command::Worker(worker) => worker::worker(*worker).await,
        Command::Images(images) => images::images(images).await,
        Command::Webhooks(webhooks) => webhooks::webhooks(webhooks).await,
        Command::Token(token) => token::token(token).await,
        Command::Admin(admin) => admin::admin(admin).await,
        Command::Doctor(doctor) => doctor::doctor(doctor).await,
        Command::Top(top) => Box::pin(top::top(top)).await,
        Command::Man(man) => man::man(&man),
        Command::Completion(completion) => completion::completion(&completion),
    }
}

/// Does the same to each of several jobs. One that fails is told and does not
/// keep the others from their turn.
async fn each(
    client: &Client,
    jobs: &[JobRef],
    act: impl AsyncFn(JobId) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    let mut failed = None;
    for job in jobs {
        let done = match job.resolve(client).await {
            Ok(id) => act(id).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = done
            && let Some(earlier) = failed.replace(failure)
        {
            output::say(&earlier.to_string());
        }
    }
    failed.map_or(Ok(Exit::SUCCESS), Err)
}

//! A scripted master on its own port.

use axum::Router;
use jiff::Timestamp;
use orchestra_client::Client;
use orchestra_contracts::{AttemptNo, Job, JobId, JobSpec, JobStatus, Outcome};
use tokio::{net::TcpListener, task::JoinSet};

/// Stops at the end of the test.
pub(crate) struct Server {
    pub(crate) client: Client,
    _task: JoinSet<()>,
}

pub(crate) async fn serve(router: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let mut task = JoinSet::new();
    task.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    Server { client: Client::new(&address.to_string()).expect("an address"), _task: task }
}

pub(crate) fn job(id: JobId, status: JobStatus) -> Job {
    let ended = status.is_final();
    Job {
        id,
        spec: JobSpec::new("true"),
        status,
        assigned_worker: None,
        retry_count: 0,
        array_id: None,
        array_index: None,
        warnings: Vec::new(),
        attempt: Some(AttemptNo(1)),
        cancelling: false,
        output: String::new(),
        error: String::new(),
        output_truncated: false,
        exit_code: ended.then_some(0),
        outcome: ended.then_some(Outcome::Exited { code: 0 }),
        reason: None,
        usage: None,
        created_at: Timestamp::UNIX_EPOCH,
        started_at: None,
        finished_at: None,
        not_before: None,
    }
}

//! The transport from one host to real masters over HTTP. It sends a request to one master, and
//! tries the next when that one cannot be reached. It also records what the checker needs.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use orchestra_client::{Client, Transport};
use orchestra_contracts::{
    AttemptNo, JobId, paths,
    worker::{ClaimRequest, ClaimTerms, Claimed, Heartbeat, HeartbeatReply, JobUpdate},
};
use orchestra_tests::{chaos::Zombie, check::What, client_builder};
use reqwest::{Request, Response, header::RETRY_AFTER};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::record::Record;

/// Base URL of the clients; the balancer replaces the port by a master's.
const ADDRESS: &str = "http://127.0.0.1:1";
const CONNECT: Duration = Duration::from_secs(5);

/// State shared by the transports of all hosts.
#[derive(Debug)]
pub struct Street {
    ports: Vec<u16>,
    record: Arc<Record>,
    pub zombie: Zombie,
    /// Ends that were reported before, to tell repeated reports from new ones.
    reported: Mutex<BTreeSet<(JobId, AttemptNo)>>,
    /// When requests were sent.
    departures: Mutex<Vec<Instant>>,
    /// Number of claims that wait for their answers.
    claims: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Street {
    pub fn new(ports: Vec<u16>, record: Arc<Record>) -> Arc<Self> {
        let (zombie, reported, departures, claims) = Default::default();
        Arc::new(Self { ports, record, zombie, reported, departures, claims })
    }

    /// A client on a host, which tries this master first.
    ///
    /// # Panics
    /// Never: a plain client has all it needs.
    pub fn client(self: &Arc<Self>, home: usize) -> Client {
        let client = Client::new(ADDRESS).expect("it is an address");
        let http = client_builder().connect_timeout(CONNECT).pool_idle_timeout(CONNECT);
        let http = http.build().expect("it has all it needs");
        let home = AtomicUsize::new(home);
        client.over(Arc::new(Balancer { street: self.clone(), http, home }))
    }

    /// How many claims are waiting now.
    pub fn waiting(&self) -> usize {
        self.claims.load(Ordering::Relaxed)
    }

    /// When requests were sent since the last call, in order.
    pub fn departures(&self) -> Vec<Instant> {
        std::mem::take(&mut *lock(&self.departures))
    }

    fn saw(&self, request: &Said, response: &Response) {
        let status = response.status();
        if status.is_server_error() {
            let retry_after = response.headers().contains_key(RETRY_AFTER);
            let (status, path) = (status.as_u16(), request.path.clone());
            self.record.note(What::ServerError { status, path, retry_after });
        } else {
            self.record.answered();
        }
    }

    fn read(&self, request: &Said, answer: &[u8]) {
        if let Some(terms) = request.claim() {
            let Ok(claimed) = serde_json::from_slice::<Vec<Claimed>>(answer) else { return };
            for Claimed { job, lease } in &claimed {
                self.lease(job.id, lease.attempt, lease.ttl.0);
            }
            self.zombie.hear(&terms.worker, claimed);
        } else if let Some(update) = request.end() {
            let (Some(attempt), Some(outcome)) = (update.attempt, update.outcome) else { return };
            if !request.again {
                self.record.note(What::EndAccepted { job: update.id, attempt, outcome });
            }
        } else if let Some(beat) = request.beat() {
            let Ok(reply) = serde_json::from_slice::<HeartbeatReply>(answer) else { return };
            for lease in beat.leases.iter().filter(|lease| !reply.lost.contains(&lease.job)) {
                self.lease(lease.job, lease.attempt, reply.lease_of(lease.job).0);
            }
        }
    }

    fn lease(&self, job: JobId, attempt: AttemptNo, ttl: Duration) {
        let until = self.record.now() + ttl;
        self.record.note(What::LeaseUntil { job, attempt, until });
    }
}

/// The parts of a request that the balancer inspects.
struct Said {
    path: String,
    body: Bytes,
    /// Whether the same end was reported before.
    again: bool,
}

impl Said {
    fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    fn claim(&self) -> Option<ClaimTerms> {
        match (self.path == paths::CLAIM).then(|| self.json())?? {
            ClaimRequest::Full(terms) => Some(terms),
            ClaimRequest::Name(_) => None,
        }
    }

    fn end(&self) -> Option<JobUpdate> {
        let update = (self.path == paths::UPDATE).then(|| self.json::<JobUpdate>())??;
        update.outcome.is_some().then_some(update)
    }

    fn beat(&self) -> Option<Heartbeat> {
        self.path.ends_with("/heartbeat").then(|| self.json())?
    }

    /// Whether the answer must be read as it passes through.
    fn is_read(&self) -> bool {
        self.path == paths::CLAIM || self.path == paths::UPDATE || self.path.ends_with("/heartbeat")
    }
}

struct Balancer {
    street: Arc<Street>,
    http: reqwest::Client,
    home: AtomicUsize,
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Balancer({})", self.home.load(Ordering::Relaxed))
    }
}

/// Counts a claim as waiting until it is dropped.
struct Waits<'a>(Option<&'a AtomicUsize>);

impl<'a> Waits<'a> {
    fn count(of: &'a AtomicUsize, is_claim: bool) -> Self {
        let counted = is_claim.then_some(of);
        if let Some(count) = counted {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Self(counted)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Transport for Balancer {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, String>> {
        Box::pin(async move {
            let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
            let body = Bytes::copy_from_slice(body);
            let mut said = Said { path: request.url().path().to_owned(), body, again: false };
            if let Some((job, Some(attempt))) = said.end().map(|end| (end.id, end.attempt)) {
                said.again = !lock(&self.street.reported).insert((job, attempt));
            }
            let _waits = Waits::count(&self.street.claims, said.path == paths::CLAIM);
            let response = self.reach(request).await?;
            self.street.saw(&said, &response);
            if !said.is_read() || !response.status().is_success() {
                return Ok(response);
            }
            let (status, headers) = (response.status(), response.headers().clone());
            let answer = response.bytes().await.map_err(|error| error.to_string())?;
            self.street.read(&said, &answer);
            let mut copy = axum::http::Response::new(reqwest::Body::from(answer));
            *copy.status_mut() = status;
            *copy.headers_mut() = headers;
            Ok(Response::from(copy))
        })
    }
}

impl Balancer {
    /// Tries the masters in turn until one accepts the request, which is then not sent again.
    async fn reach(&self, request: Request) -> Result<Response, String> {
        let ports = &self.street.ports;
        let mut refused = String::new();
        for _ in ports {
            let home = self.home.load(Ordering::Relaxed);
            let mut copy = request.try_clone().ok_or("it cannot be sent twice")?;
            let _ = copy.url_mut().set_port(Some(ports[home % ports.len()]));
            lock(&self.street.departures).push(Instant::now());
            match self.http.execute(copy).await {
                Ok(response) => return Ok(response),
                Err(error) => {
                    self.home.store(home + 1, Ordering::Relaxed);
                    refused = error.to_string();
                    if !error.is_connect() {
                        break;
                    }
                }
            }
        }
        Err(refused)
    }
}

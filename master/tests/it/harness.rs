//! A master in this process, with its own database and its own clock.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Request, StatusCode},
};
use bytes::BytesMut;
use futures::StreamExt;
use http_body_util::BodyExt;
use jiff::Timestamp;
use orchestra_contracts::{
    AttemptNo, JobId, Size, Span,
    frame::{Body as FrameBody, Frame, Stream},
    worker::{Claimed, LEASE_HEADER, LogHead},
};
use orchestra_master::{
    clock::Clock,
    courier::Reachable,
    http::{self, Access, Hosts},
    service::{self, ClaimQueue, Service, Settings, Vault},
    store::{self, Store},
};
use orchestra_tests::Postgres;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{faulty::FaultyStore, receiver::Successor};

/// Generous limit for anything here, even on two busy cores. It only detects a stuck run.
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const LEASE: Span = Span::from_secs(60);
pub(crate) const BACKOFF: Span = Span::from_secs(60);

const KEY: [u8; 32] = [7; 32];

/// A clock that stands still until the test advances it.
#[derive(Debug)]
pub(crate) struct FakeClock(Mutex<Timestamp>);

impl FakeClock {
    pub(crate) fn advance(&self, span: Span) {
        *self.0.lock().unwrap() += span.0;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    /// The time shown, since 1970.
    fn passed(&self) -> Duration {
        let since = self.now().duration_since(Timestamp::UNIX_EPOCH);
        Duration::try_from(since).unwrap()
    }
}

fn settings() -> Settings {
    Settings { lease: LEASE, ..Settings::default() }
}

/// Settings under which webhooks may reach these networks.
fn reaching(networks: &[&str]) -> Settings {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    Settings { reachable: Reachable::with(networks), ..settings() }
}

pub(crate) struct Master {
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) service: Arc<Service>,
    pub(crate) shutdown: CancellationToken,
    /// The faults that its database can be told to inject.
    pub(crate) faults: Arc<FaultyStore>,
    store: Arc<dyn Store>,
    router: Router,
    tasks: JoinSet<()>,
    folder: tempfile::TempDir,
    url: String,
}

impl Master {
    /// Starts a master on loopback that requires no token.
    pub(crate) async fn start() -> Self {
        Self::behind(Access::open(Ipv4Addr::LOCALHOST.into(), Hosts::default())).await
    }

    /// Starts a master that requires tokens.
    pub(crate) async fn with_tokens() -> Self {
        Self::behind(Access::with_tokens(Hosts::default())).await
    }

    /// With this limit on concurrent readers.
    pub(crate) async fn serving_readers(max_streams: usize) -> Self {
        let access = Access::open(Ipv4Addr::LOCALHOST.into(), Hosts::default());
        Self::with(access, Settings { max_streams, ..settings() }).await
    }

    /// With this limit on the artifacts of an attempt.
    pub(crate) async fn keeping_at_most(artifacts_limit: Size) -> Self {
        let access = Access::open(Ipv4Addr::LOCALHOST.into(), Hosts::default());
        Self::with(access, Settings { artifacts_limit, ..settings() }).await
    }

    /// With this limit on files for jobs.
    pub(crate) async fn taking_at_most(upload_limit: Size) -> Self {
        let access = Access::open(Ipv4Addr::LOCALHOST.into(), Hosts::default());
        Self::with(access, Settings { upload_limit, ..settings() }).await
    }

    /// Delivers webhooks, in these networks too.
    pub(crate) async fn delivering(networks: &[&str]) -> Self {
        let access = Access::open(Ipv4Addr::LOCALHOST.into(), Hosts::default());
        let mut master = Self::with(access, reaching(networks)).await;
        master.tasks.spawn(service::deliver(master.service.clone()));
        master
    }

    pub(crate) async fn behind(access: Access) -> Self {
        Self::with(access, settings()).await
    }

    /// On top of this store.
    pub(crate) fn over(store: Arc<dyn Store>) -> Self {
        let access = Access::open(Ipv4Addr::LOCALHOST.into(), Hosts::default());
        let folder = tempfile::tempdir().unwrap();
        Self::on(store, (folder, String::new()), access, settings())
    }

    /// Another master on the same database, to which this one says nothing.
    pub(crate) fn beside(&self) -> Self {
        Self::over(self.store.clone())
    }

    async fn with(access: Access, settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = || format!("sqlite:{}", folder.path().join("test.db").display());
        let url = Postgres::asked_for().unwrap_or_else(file);
        Self::on(store::open(&url).await.unwrap(), (folder, url), access, settings)
    }

    fn on(
        store: Arc<dyn Store>,
        (folder, url): (tempfile::TempDir, String),
        access: Access,
        settings: Settings,
    ) -> Self {
        let faults = FaultyStore::over(store);
        let store: Arc<dyn Store> = faults.clone();
        let clock = Arc::new(FakeClock(Mutex::new("2026-01-02T03:04:05Z".parse().unwrap())));
        let shutdown = CancellationToken::new();
        let (service, claims) = Service::new(
            store.clone(),
            clock.clone(),
            settings,
            Vault::new(&KEY),
            shutdown.clone(),
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(service::dispatch(service.clone(), claims));
        let router = http::router(service.clone(), access);
        Self { clock, service, shutdown, faults, store, router, tasks, folder, url }
    }

    /// The service of a master that has just started on the same database.
    pub(crate) fn restarted(&self) -> Arc<Service> {
        self.restarted_with(&KEY).0
    }

    /// A master that has just started on the same database, whose webhooks may reach these networks.
    pub(crate) fn successor(&self, networks: &[&str]) -> Successor {
        let (shutdown, vault) = (CancellationToken::new(), Vault::new(&KEY));
        let (store, clock, settings) = (self.store.clone(), self.clock.clone(), reaching(networks));
        let (service, _) = Service::new(store, clock, settings, vault, shutdown.clone());
        Successor { service, shutdown }
    }

    /// The same with this key for secrets. Also returns its claim queue.
    pub(crate) fn restarted_with(&self, key: &[u8; 32]) -> (Arc<Service>, ClaimQueue) {
        let (shutdown, vault) = (CancellationToken::new(), Vault::new(key));
        Service::new(self.store.clone(), self.clock.clone(), settings(), vault, shutdown)
    }

    /// Everything on its disk.
    pub(crate) fn on_disk(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    pub(crate) fn lose_database(&self) {
        match self.url.strip_prefix("sqlite:") {
            Some(path) => std::fs::remove_file(path).unwrap(),
            None => Postgres::shared().unwrap().drop_database(&self.url),
        }
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// The head of the answer, with its body still unread.
    pub(crate) async fn open(&self, request: Request<Body>) -> axum::response::Response {
        soon(self.router.clone().oneshot(request)).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let (parts, body) = self.open(request).await.into_parts();
        let body = soon(body.collect()).await.expect("the body is whole").to_bytes();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.send_json("POST", path, &body).await
    }

    pub(crate) async fn send_json(&self, method: &str, path: &str, body: &Value) -> Reply {
        let request = request(method, path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Sends `POST` or `DELETE` without a body.
    pub(crate) async fn bare(&self, method: &str, path: &str) -> Reply {
        self.send(request(method, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn submit(&self, spec: Value) -> i64 {
        let reply = self.post("/api/job", spec).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["id"].as_i64().unwrap()
    }

    pub(crate) async fn job(&self, id: i64) -> Value {
        self.get(&format!("/api/job/{id}")).await.json()
    }

    /// Claims one job in the long form, if there is one.
    pub(crate) async fn claim(&self, worker: &str) -> Option<Claimed> {
        let reply = self.post("/api/job/claim", json!({"worker": worker})).await;
        if reply.status == 204 {
            return None;
        }
        reply.read::<Vec<Claimed>>().pop()
    }

    /// Sends a report under a lease from [`Self::claim`].
    pub(crate) async fn report(&self, claimed: &Claimed, worker: &str, more: Value) -> Reply {
        let mut update = json!({
            "id": claimed.job.id, "assignedWorker": worker,
            "attempt": claimed.lease.attempt, "leaseToken": claimed.lease.token,
        });
        update.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/api/job/update", update).await
    }

    pub(crate) async fn upload(
        &self,
        claimed: &Claimed,
        worker: &str,
        offset: u64,
        frames: Bytes,
    ) -> Reply {
        let (JobId(id), AttemptNo(attempt)) = (claimed.job.id, claimed.lease.attempt);
        let path = format!("/api/job/{id}/attempts/{attempt}/log?offset={offset}&worker={worker}");
        let request = request("POST", &path)
            .header("content-type", "application/octet-stream")
            .header(LEASE_HEADER, claimed.lease.token.as_str());
        self.send(request.body(Body::from(frames)).unwrap()).await
    }

    /// Submits a job and starts its first attempt, held by `w`.
    pub(crate) async fn running(&self, spec: Value) -> Claimed {
        self.submit(spec).await;
        let claimed = self.claim("w").await.expect("the job that was just submitted");
        let reply = self.report(&claimed, "w", json!({"status": "Running"})).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        claimed
    }

    pub(crate) async fn stored(&self, claimed: &Claimed, frames: &[Frame], offset: u64) -> LogHead {
        let reply = self.upload(claimed, "w", offset, encode(frames)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.read()
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    #[track_caller]
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        self.read()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The last segment of a problem's type.
    #[track_caller]
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16(), "{self:?}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{self:?}");
        problem["type"].as_str().unwrap().strip_prefix("urn:orchestra:problem:").unwrap().to_owned()
    }
}

pub(crate) fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

/// A streaming body, read piece by piece.
pub(crate) struct Open(axum::body::BodyDataStream, String);

impl Open {
    pub(crate) fn new(response: axum::response::Response) -> Self {
        assert_eq!(response.status(), 200);
        Self(response.into_body().into_data_stream(), String::new())
    }

    /// Reads until the text so far contains this.
    pub(crate) async fn until(&mut self, wanted: &str) -> &str {
        while !self.1.contains(wanted) {
            let piece = soon(self.0.next()).await;
            let piece = piece.unwrap_or_else(|| panic!("ended without {wanted:?}: {:?}", self.1));
            self.1.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        }
        &self.1
    }

    /// Reads the rest; `Err` when the body was cut off.
    pub(crate) async fn end(mut self) -> Result<String, String> {
        while let Some(piece) = soon(self.0.next()).await {
            match piece {
                Ok(piece) => self.1.push_str(std::str::from_utf8(&piece).unwrap()),
                Err(_) => return Err(self.1),
            }
        }
        Ok(self.1)
    }
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("it takes no longer than SOON")
}

pub(crate) fn out(text: &'static str) -> Frame {
    Frame { time: 1_000_000, body: FrameBody::Bytes(Stream::Stdout, text.into()) }
}

pub(crate) fn err(text: &'static str) -> Frame {
    Frame { time: 2_000_000, body: FrameBody::Bytes(Stream::Stderr, text.into()) }
}

pub(crate) fn system(text: &'static str) -> Frame {
    Frame { time: 3_000_000, body: FrameBody::Bytes(Stream::System, text.into()) }
}

pub(crate) fn encode(frames: &[Frame]) -> Bytes {
    let mut buffer = BytesMut::new();
    for frame in frames {
        frame.encode(&mut buffer);
    }
    buffer.freeze()
}

//! The network between clients, workers and the master. It delays, loses, duplicates and cuts
//! messages, and partitions hosts from the master.
//!
//! A request is one message. An answer is its head followed by its body in chunks, so event
//! streams can break in the middle. The real router handles each request, on the master that
//! serves when the request arrives.

mod link;
mod message;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use orchestra_tests::check::What;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
    time::sleep,
};
use tower::ServiceExt;

pub use self::link::Link;
use self::message::Message;
use crate::{chance::Chance, record::Record};

/// How bad the network is; rates per thousand messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Messages that take up to 800 ms instead of a few.
    pub slow: u32,
    /// Requests that never arrive.
    pub lose_request: u32,
    /// Answers that never arrive although the request was carried out.
    pub lose_answer: u32,
    /// Answers whose body is cut short.
    pub cut_answer: u32,
    /// Requests that are duplicated; the copy arrives at some later time.
    pub double: u32,
    /// The longest delay of a copy.
    pub copy_delay: Duration,
}

/// How many chunks of one answer can be in transit at once.
const PIECES: usize = 16;

/// A network with the address of one master.
#[derive(Debug)]
pub struct Network {
    state: Mutex<State>,
    /// Notified whenever a partition begins or ends.
    changed: Notify,
    chance: Chance,
    record: Arc<Record>,
}

#[derive(Debug, Default)]
struct State {
    weather: Weather,
    parted: BTreeSet<&'static str>,
    master: Option<Router>,
    /// Requests that the master is handling. They end with it.
    serving: JoinSet<()>,
    /// Duplicates in transit.
    copies: JoinSet<()>,
}

type Head = (axum::http::response::Parts, mpsc::Receiver<Bytes>);

impl Network {
    pub fn new(chance: Chance, record: Arc<Record>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: Notify::new(), chance, record })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// From now on, this router answers.
    pub fn serve(&self, router: Router) {
        self.state().master = Some(router);
    }

    /// No requests are answered from now on, and those in progress are dropped.
    pub fn cut_off_master(&self) {
        let mut state = self.state();
        state.master = None;
        state.serving = JoinSet::new();
    }

    /// Partitions the host from the master until it is joined again.
    pub fn part(&self, host: &'static str) {
        self.state().parted.insert(host);
        self.changed.notify_waiters();
    }

    pub fn join(&self, host: &'static str) {
        self.state().parted.remove(host);
        self.changed.notify_waiters();
    }

    /// Ends all faults, pending ones included: duplicates in transit are dropped.
    pub fn heal(&self) {
        let mut state = self.state();
        state.weather = Weather::default();
        state.parted.clear();
        state.copies = JoinSet::new();
        drop(state);
        self.changed.notify_waiters();
    }

    /// The transport from a host to the master.
    pub fn from(self: &Arc<Self>, host: &'static str) -> Arc<Link> {
        Arc::new(Link { network: self.clone(), host })
    }

    fn is_parted(&self, host: &'static str) -> bool {
        self.state().parted.contains(host)
    }

    async fn joined(&self, host: &'static str) {
        loop {
            let changed = self.changed.notified();
            if !self.is_parted(host) {
                return;
            }
            changed.await;
        }
    }

    fn latency(&self) -> Duration {
        let slow = self.state().weather.slow;
        if self.chance.permille(slow) {
            self.chance.millis(10, 800)
        } else {
            Duration::from_micros(self.chance.number(200, 8_000))
        }
    }

    /// Passes a request to the current master. With `patient`, the request is carried out to the end
    /// even when nobody waits for the answer any more.
    fn arrive(&self, message: &Message, patient: bool) -> Option<oneshot::Receiver<Head>> {
        let mut state = self.state();
        let router = state.master.clone()?;
        let (head, answer) = oneshot::channel();
        let request = message.to_request();
        let (record, name) = (self.record.clone(), message.name());
        state.serving.spawn(async move {
            let response = answer_of(router, request);
            carry_out(response, head, patient, &record, &name).await;
        });
        while state.serving.try_join_next().is_some() {}
        Some(answer)
    }

    /// Sends a copy of the message after a delay.
    fn double(self: &Arc<Self>, host: &'static str, message: &Message) {
        let mut state = self.state();
        let most = u64::try_from(state.weather.copy_delay.as_millis()).unwrap_or(u64::MAX);
        let delay = self.chance.millis(0, most.max(1));
        let (network, message) = (self.clone(), message.clone());
        state.copies.spawn(async move {
            sleep(delay).await;
            network.joined(host).await;
            network.record.line(format_args!("copy of {host}: {}", message.name()));
            network.arrive(&message, true);
        });
    }
}

async fn answer_of(router: Router, request: axum::http::Request<Body>) -> axum::response::Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Waits for the response and forwards it in chunks.
async fn carry_out(
    response: impl Future<Output = axum::response::Response>,
    mut head: oneshot::Sender<Head>,
    patient: bool,
    record: &Record,
    name: &str,
) {
    let response = tokio::select! {
        biased;
        response = response => response,
        () = head.closed(), if !patient => return,
    };
    let (parts, mut body) = response.into_parts();
    record.line(format_args!("master: {} to {name}", parts.status.as_u16()));
    record.answered();
    if parts.status.is_server_error() {
        let retry_after = parts.headers.contains_key("retry-after");
        let (status, path) = (parts.status.as_u16(), name.to_owned());
        record.note(What::ServerError { status, path, retry_after });
    }
    let (pieces, receiver) = mpsc::channel(PIECES);
    if head.send((parts, receiver)).is_err() {
        return;
    }
    loop {
        let frame = tokio::select! {
            biased;
            () = pieces.closed() => return,
            frame = body.frame() => frame,
        };
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(data)) => {
                let Ok(data) = data else { continue };
                if pieces.send(data).await.is_err() {
                    return;
                }
            }
            // The end of the body is a message of its own; without it, the body counts as cut.
            None => {
                let _ = pieces.send(Bytes::new()).await;
                return;
            }
            Some(Err(_)) => return,
        }
    }
}

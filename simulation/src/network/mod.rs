//! The network between the clients' side and the master: it delays, loses, doubles
//! and cuts what it carries, and parts hosts from the master.
//!
//! A request is a whole message; the answer is its head and then its body piece by
//! piece, so that event streams break in the middle. Every request is carried out on
//! the master that serves when it arrives, by the real router.

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

/// How bad it is, in so many of a thousand messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Up to 800 ms instead of a few.
    pub slow: u32,
    /// Requests that never arrive.
    pub lose_request: u32,
    /// Answers that never arrive, though the request was carried out.
    pub lose_answer: u32,
    /// Answers that break off in their body.
    pub cut_answer: u32,
    /// Requests of which a copy arrives as well, at some later time.
    pub double: u32,
    /// How late a copy may be.
    pub copy_delay: Duration,
}

/// Pieces of one answer that are under way at once.
const PIECES: usize = 16;

/// One network with one master's address in it.
#[derive(Debug)]
pub struct Network {
    state: Mutex<State>,
    /// Told whenever a partition begins or ends.
    changed: Notify,
    chance: Chance,
    record: Arc<Record>,
}

#[derive(Debug, Default)]
struct State {
    weather: Weather,
    parted: BTreeSet<&'static str>,
    master: Option<Router>,
    /// What the master is at. Ends with it.
    serving: JoinSet<()>,
    /// Copies on their way.
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

    /// From now on this router answers.
    pub fn serve(&self, router: Router) {
        self.state().master = Some(router);
    }

    /// Nobody answers any more, and what was under way ends where it is.
    pub fn cut_off_master(&self) {
        let mut state = self.state();
        state.master = None;
        state.serving = JoinSet::new();
    }

    /// Nothing passes between the host and the master until it is joined again.
    pub fn part(&self, host: &'static str) {
        self.state().parted.insert(host);
        self.changed.notify_waiters();
    }

    pub fn join(&self, host: &'static str) {
        self.state().parted.remove(host);
        self.changed.notify_waiters();
    }

    /// Ends every fault, also those that are still to come: late copies are dropped.
    pub fn heal(&self) {
        let mut state = self.state();
        state.weather = Weather::default();
        state.parted.clear();
        state.copies = JoinSet::new();
        drop(state);
        self.changed.notify_waiters();
    }

    /// The way to the master from a host.
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

    /// Hands a request to whoever serves now. `patient`: it is carried out to its end
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

    /// Sends a copy of the message after a while.
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

/// Waits for the response and passes it on piece by piece.
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
            // The end of an answer is a piece of its own: without it, it broke off.
            None => {
                let _ = pieces.send(Bytes::new()).await;
                return;
            }
            Some(Err(_)) => return,
        }
    }
}

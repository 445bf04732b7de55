//! Follows a job's log to the end of the job and resumes after broken connections.
//!
//! The id of each event tells how much of the log has been read. After a break the stream resumes
//! from the last id, and repeated events are dropped. So each frame is yielded once, however often
//! the connection breaks.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use orchestra_contracts::{
    AttemptNo, Job, JobId,
    event::{self, Cursor, LogEvent},
    frame::Frame,
    paths,
};
use reqwest::{Method, header::ACCEPT};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Backoff, Client, ClientError,
    retry::PATIENCE,
    sse::{Decoder, Event},
};

/// A master sends a comment every 15 s if there is nothing else. A connection that is silent for
/// three times as long is dead.
const SILENCE: Duration = Duration::from_secs(45);

/// An event of a followed job.
#[derive(Clone, Debug)]
pub enum FollowEvent {
    Log {
        attempt: AttemptNo,
        frame: Frame,
        /// The position after the frame, from which a later call can continue.
        after: Cursor,
    },
    /// Its status has changed. It may be repeated after a break.
    State(Box<Job>),
    /// It has ended. No event follows.
    End(Box<Job>),
}

impl Client {
    /// Yields everything that is in the job's log and everything that is added, until the job ends.
    /// It starts after `from`, or at the beginning.
    ///
    /// It bridges a break of up to a minute. An error is the last item.
    pub fn follow(
        &self,
        id: JobId,
        from: Option<Cursor>,
    ) -> impl Stream<Item = Result<FollowEvent, ClientError>> + Send + use<> {
        let follower = Follower {
            client: self.clone(),
            id,
            cursor: from,
            connection: None,
            backoff: Backoff::default(),
            heard: Instant::now(),
        };
        stream::unfold(Some(follower), |follower| async move {
            let mut follower = follower?;
            match follower.next().await {
                Ok(end @ FollowEvent::End(_)) => Some((Ok(end), None)),
                Ok(event) => Some((Ok(event), Some(follower))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

struct Follower {
    client: Client,
    id: JobId,
    /// The position that has been yielded.
    cursor: Option<Cursor>,
    connection: Option<Connection>,
    backoff: Backoff,
    /// When the master last sent something; at first, when following started.
    heard: Instant,
}

impl Follower {
    async fn next(&mut self) -> Result<FollowEvent, ClientError> {
        loop {
            match self.event().await {
                Ok(event) => {
                    self.backoff.reset();
                    if let Some(event) = self.take(&event)? {
                        return Ok(event);
                    }
                }
                Err(error) => self.pause(error).await?,
            }
        }
    }

    async fn event(&mut self) -> Result<Event, ClientError> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(&self.client, self.id, self.cursor).await?);
        }
        let connection = self.connection.as_mut().expect("it was just opened");
        connection.event(self.client.url()).await
    }

    /// Waits before the next try, unless the error is permanent.
    async fn pause(&mut self, error: ClientError) -> Result<(), ClientError> {
        if let Some(connection) = self.connection.take() {
            self.heard = connection.heard.unwrap_or(self.heard);
        }
        if !error.is_temporary() || self.heard.elapsed() > PATIENCE {
            return Err(error);
        }
        let pause = self.backoff.next();
        tracing::debug!(job = %self.id, %error, ?pause, "the log broke off and is taken up again");
        sleep(pause).await;
        Ok(())
    }

    /// `None` for events that were yielded before, and for kinds that only later masters send.
    fn take(&mut self, event: &Event) -> Result<Option<FollowEvent>, ClientError> {
        match event.kind.as_str() {
            event::LOG => self.take_log(event),
            event::STATE => Ok(Some(FollowEvent::State(self.parse(event)?))),
            event::END => Ok(Some(FollowEvent::End(self.parse(event)?))),
            _ => Ok(None),
        }
    }

    fn take_log(&mut self, event: &Event) -> Result<Option<FollowEvent>, ClientError> {
        let after: Cursor = event.id.parse().map_err(|wrong| self.unreadable(wrong))?;
        if Some(after) <= self.cursor {
            return Ok(None);
        }
        let log: LogEvent = self.parse(event)?;
        let frame = log.frame().ok_or_else(|| self.unreadable("a log event is empty"))?;
        self.cursor = Some(after);
        Ok(Some(FollowEvent::Log { attempt: log.attempt, frame, after }))
    }

    fn parse<T: DeserializeOwned>(&self, event: &Event) -> Result<T, ClientError> {
        serde_json::from_str(&event.data).map_err(|error| self.unreadable(&error.to_string()))
    }

    fn unreadable(&self, reason: &str) -> ClientError {
        ClientError::unreadable(self.client.url(), 200, reason)
    }
}

type Pieces = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

struct Connection {
    pieces: Pieces,
    decoder: Decoder,
    /// When the last bytes arrived, including comments.
    heard: Option<Instant>,
}

impl Connection {
    async fn open(client: &Client, id: JobId, from: Option<Cursor>) -> Result<Self, ClientError> {
        let mut request =
            client.open(Method::GET, &paths::log(id)).header(ACCEPT, "text/event-stream");
        if let Some(cursor) = from {
            request = request.header("last-event-id", cursor.to_string());
        }
        let response = client.send_open(request).await?;
        let pieces = Box::pin(response.bytes_stream());
        Ok(Self { pieces, decoder: Decoder::default(), heard: None })
    }

    async fn event(&mut self, url: &str) -> Result<Event, ClientError> {
        let broken = |reason: &str| ClientError::Unreachable {
            url: url.to_owned(),
            reason: reason.to_owned(),
            sent: true,
        };
        loop {
            let event = self.decoder.next();
            let event = event.map_err(|wrong| ClientError::unreadable(url, 200, wrong.0))?;
            if let Some(event) = event {
                return Ok(event);
            }
            match timeout(SILENCE, self.pieces.next()).await {
                Ok(Some(Ok(piece))) => {
                    self.heard = Some(Instant::now());
                    self.decoder.push(&piece);
                }
                Ok(Some(Err(error))) => return Err(ClientError::transport(url, &error)),
                Ok(None) => return Err(broken("the log broke off before the job's end")),
                Err(_) => return Err(broken("it has fallen silent")),
            }
        }
    }
}

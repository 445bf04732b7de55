//! The transport from one host to the master, as the client sees it.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream};
use orchestra_client::Transport;
use reqwest::{Request, Response};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

use super::{Message, Network};

/// Connect timeout (`CONNECT_TIMEOUT` of the real client).
const CONNECT: Duration = Duration::from_secs(5);

/// The transport from one host to the master.
pub struct Link {
    pub(super) network: Arc<Network>,
    pub(super) host: &'static str,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.host)
    }
}

impl Transport for Link {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, String>> {
        Box::pin(async move {
            let until = request.timeout().map(|timeout| Instant::now() + *timeout);
            let exchange = self.exchange(Message::of(&request), until);
            match until {
                Some(until) => {
                    timeout_at(until, exchange).await.unwrap_or(Err("it took too long".to_owned()))
                }
                None => exchange.await,
            }
        })
    }
}

impl Link {
    async fn exchange(&self, message: Message, until: Option<Instant>) -> Result<Response, String> {
        let Self { network, host } = self;
        let weather = network.state().weather;
        let chance = &network.chance;
        if network.is_parted(host) {
            return self.unheard().await;
        }
        if chance.permille(weather.double) && message.may_be_doubled() {
            network.double(host, &message);
        }
        let lost = chance.permille(weather.lose_request);
        sleep(network.latency()).await;
        if lost || network.is_parted(host) {
            return self.unheard().await;
        }
        let patient = chance.permille(500);
        network.record.line(format_args!("{host}: {}", message.name()));
        let Some(answer) = network.arrive(&message, patient) else {
            sleep(network.latency()).await;
            return Err("connection refused".to_owned());
        };
        let Ok((parts, pieces)) = answer.await else {
            sleep(network.latency()).await;
            return Err("connection reset".to_owned());
        };
        if chance.permille(weather.lose_answer) {
            drop(pieces);
            return self.unheard().await;
        }
        sleep(network.latency()).await;
        network.joined(host).await;
        let cut = chance.permille(weather.cut_answer).then(|| chance.number(0, 4_000) as usize);
        let pieces = Pieces {
            network: network.clone(),
            host,
            arriving: pieces,
            left: cut,
            until,
            over: false,
        };
        let body = stream::unfold(pieces, |mut pieces| async {
            let piece = pieces.next().await?;
            Some((piece, pieces))
        });
        let body = reqwest::Body::wrap_stream(body.boxed());
        Ok(Response::from(axum::http::Response::from_parts(parts, body)))
    }

    /// A request without an answer: fails at once, after a timeout, or never.
    async fn unheard(&self) -> Result<Response, String> {
        match self.network.chance.number(0, 2) {
            0 => Err("connection reset".to_owned()),
            1 => {
                sleep(CONNECT).await;
                Err("it took too long".to_owned())
            }
            _ => std::future::pending().await,
        }
    }
}

/// The body of an answer in transit.
struct Pieces {
    network: Arc<Network>,
    host: &'static str,
    arriving: mpsc::Receiver<Bytes>,
    /// The body is cut after this many bytes.
    left: Option<usize>,
    until: Option<Instant>,
    over: bool,
}

impl Pieces {
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        if self.over {
            return None;
        }
        let arrival = Self::arrival(&self.network, self.host, &mut self.arriving);
        let piece = match self.until {
            Some(until) => timeout_at(until, arrival).await.unwrap_or(None),
            None => arrival.await,
        };
        match (piece, &mut self.left) {
            (Some(piece), _) if piece.is_empty() => None,
            (Some(piece), None) => Some(Ok(piece)),
            (Some(piece), Some(left)) if piece.len() <= *left => {
                *left -= piece.len();
                Some(Ok(piece))
            }
            (Some(piece), Some(left)) if *left > 0 => {
                let part = piece.slice(..std::mem::take(left));
                Some(Ok(part))
            }
            _ => {
                self.over = true;
                self.arriving.close();
                let reset = std::io::ErrorKind::ConnectionReset;
                Some(Err(std::io::Error::new(reset, "the connection broke")))
            }
        }
    }

    async fn arrival(
        network: &Network,
        host: &'static str,
        pieces: &mut mpsc::Receiver<Bytes>,
    ) -> Option<Bytes> {
        let piece = pieces.recv().await?;
        // Chunks stay in order, so a slow one delays those behind it.
        sleep(network.latency() / 4).await;
        network.joined(host).await;
        Some(piece)
    }
}

//! The accept loop. `axum::serve` has no timeout for a request's head, so connections that send
//! half of one would stay forever, and it does not limit the number of connections.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{error::no_connection_left, refusals};

mod active;
mod limit;
mod tls;

pub(super) use limit::RequestSlot;
use limit::{ConnectionLimit, ConnectionPermit};
pub use tls::Tls;

/// The limit on receiving a request's head; the connection is closed after it. This also bounds how
/// long a connection may be idle.
const HEAD: Duration = Duration::from_secs(10);
/// Maximum size of a request's head, which holds up to 100 headers and a 64 KiB address.
const HEAD_BYTES: usize = 64 << 10;
/// The limit on draining requests at shutdown. Streams and long polls end by themselves.
const DRAIN: Duration = Duration::from_secs(10);
/// A peer that is silent for this long gets TCP keepalive probes.
const SILENT: Duration = Duration::from_mins(1);
/// A peer that acknowledges nothing for this long is disconnected.
const UNTAKEN: Duration = Duration::from_mins(2);
/// The pause after `accept` fails, for instance for want of a file descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves connections until the token is cancelled and all requests have ended.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    serve_at_most(listener, router, usize::MAX, shutdown).await;
}

/// Like [`serve`], with a limit on connections, so that file descriptors never run out. At the
/// limit, a new connection replaces the one that has been idle for longest. If none is idle, it
/// gets a 503.
pub async fn serve_at_most(
    listener: TcpListener,
    router: Router,
    most: usize,
    shutdown: CancellationToken,
) {
    serve_over(None, listener, router, most, shutdown).await;
}

/// Like [`serve_at_most`], over TLS if `tls` is given.
pub async fn serve_over(
    tls: Option<Tls>,
    listener: TcpListener,
    router: Router,
    most: usize,
    shutdown: CancellationToken,
) {
    let tls = tls.map(Arc::new);
    let refusal = no_connection_left();
    let limit = ConnectionLimit::new(most);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(socket, _)| prepared(socket)) {
            Ok(socket) => {
                if let Some(permit) = limit.acquire() {
                    let (router, watcher) = (router.clone(), graceful.watcher());
                    connections.spawn(connection(socket, tls.clone(), router, permit, watcher));
                } else {
                    refusals::note("no connection is left");
                    if tls.is_none() {
                        // Either the socket buffer has room for this, or the peer is gone.
                        let _ = rustix::io::write(&socket, &refusal);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!(left = connections.len(), "connections are cut off");
    }
    connections.shutdown().await;
}

/// Disables Nagle's algorithm, since responses and log events are small and urgent.
fn prepared(socket: TcpStream) -> io::Result<TcpStream> {
    socket.set_nodelay(true)?;
    // Keeps peers that vanished or stopped reading from holding their connections forever.
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, SILENT)?;
    sockopt::set_tcp_user_timeout(&socket, UNTAKEN.as_millis() as u32)?;
    Ok(socket)
}

/// Serves one connection until it ends, or until another connection needs its permit.
async fn connection(
    socket: TcpStream,
    tls: Option<Arc<Tls>>,
    router: Router,
    permit: Arc<ConnectionPermit>,
    watcher: Watcher,
) {
    let speak = async {
        match tls {
            None => speak(socket, router, &permit, watcher).await,
            Some(tls) => match timeout(HEAD, tls.acceptor().accept(socket)).await {
                Ok(Ok(stream)) => speak(stream, router, &permit, watcher).await,
                Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
                Err(_) => tracing::debug!("a handshake took too long"),
            },
        }
    };
    tokio::select! {
        () = speak => {}
        () = permit.asked_to_leave() => tracing::debug!("an idle connection made room for another"),
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    permit: &Arc<ConnectionPermit>,
    watcher: Watcher,
) {
    let service = service_fn(|request| answer(router.clone(), permit.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // The library handles a peer's protocol errors.
    let _ = watcher.watch(connection).await;
}

async fn answer(
    router: Router,
    permit: Arc<ConnectionPermit>,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let active = permit.begin();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(active.slot());
    let response = router.oneshot(request).await?;
    Ok(active::until_its_end(active, response))
}

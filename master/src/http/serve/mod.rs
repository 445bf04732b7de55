//! The accept loop. `axum::serve` has no timeout for a request's head, so that
//! connections that send half of one would stay for ever, and no bound for their
//! number.

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

/// The head of a request arrives in this time, however it trickles, or the connection
/// is closed. It also bounds how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(10);
/// A head is no longer than this; the library takes 100 headers and an address of
/// 64 KiB in it.
const HEAD_BYTES: usize = 64 << 10;
/// What is under way at shutdown gets so long to end. Streams and long polls
/// end by themselves.
const DRAIN: Duration = Duration::from_secs(10);
/// A peer that says nothing for so long is asked whether it is there.
const SILENT: Duration = Duration::from_mins(1);
/// What a peer does not take for so long, it does not want.
const UNTAKEN: Duration = Duration::from_mins(2);
/// After a failure to accept, for instance because no descriptor is free.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves connections until the token is cancelled and what was under way has ended.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    serve_at_most(listener, router, usize::MAX, shutdown).await;
}

/// The same, with no more connections than that at once, so that descriptors never
/// run out. Where there are as many, a new one takes the place of the one that has
/// been idle for longest, and is told to come again where none is.
pub async fn serve_at_most(
    listener: TcpListener,
    router: Router,
    most: usize,
    shutdown: CancellationToken,
) {
    serve_over(None, listener, router, most, shutdown).await;
}

/// The same, over TLS where that is given.
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
                        // It has room for this, or it is gone.
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

/// Answers and log events are small and wanted at once.
fn prepared(socket: TcpStream) -> io::Result<TcpStream> {
    socket.set_nodelay(true)?;
    // A peer that has gone without a word, or that takes nothing any more, must
    // not hold its connection for ever.
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, SILENT)?;
    sockopt::set_tcp_user_timeout(&socket, UNTAKEN.as_millis() as u32)?;
    Ok(socket)
}

/// One connection until its end, or until another connection needs its permit.
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
    // What is wrong with a peer's bytes is between it and the library.
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

//! The accept loop. `axum::serve` has no timeout for a request's head, so that
//! connections that send half of one would stay for ever.

use std::{io, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::error::no_connection_left;

/// The head of a request arrives in this time, or the connection is closed. It
/// also bounds how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(10);
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

/// The same, with no more connections than that at once; further ones are told
/// to come again, so that descriptors never run out.
pub async fn serve_at_most(
    listener: TcpListener,
    router: Router,
    most: usize,
    shutdown: CancellationToken,
) {
    let refusal = no_connection_left();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(socket, _)| prepared(socket)) {
            Ok(socket) if connections.len() >= most => {
                // It has room for this, or it is gone.
                let _ = rustix::io::write(&socket, &refusal);
            }
            Ok(socket) => {
                let service =
                    router.clone().map_request(|request: Request<Incoming>| request.map(Body::new));
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD)
                    .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service));
                connections.spawn(graceful.watch(connection));
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

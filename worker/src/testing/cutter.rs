//! A proxy that cuts connections: it cuts each of the first few after a different number of bytes,
//! in the middle of whatever is in transit.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

pub(crate) struct Cutter {
    pub(crate) address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    /// Ends when the cutter is dropped.
    _serving: JoinSet<()>,
}

impl Cutter {
    /// Starts a cutter in front of `target` that cuts this many connections.
    pub(crate) async fn before(target: SocketAddr, cuts: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let done = Arc::<AtomicUsize>::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, target, cuts, done.clone()));
        Self { address, cuts: done, _serving: serving }
    }

    /// How many connections were cut so far.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, cuts: usize, done: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    let mut number = 0_u64;
    while let Ok((mut here, _)) = listener.accept().await {
        let Ok(mut there) = TcpStream::connect(target).await else { continue };
        number += 1;
        // From a few hundred bytes to some ten thousand, never the same twice.
        let bytes = 300 + number * 7919 % 40_000;
        let done = done.clone();
        connections.spawn(async move {
            if done.load(Ordering::SeqCst) >= cuts {
                let _ = copy_bidirectional(&mut here, &mut there).await;
            } else if forward_some(&mut here, &mut there, bytes).await {
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
}

/// Whether it was cut, rather than closed by one side.
async fn forward_some(here: &mut TcpStream, there: &mut TcpStream, mut bytes: u64) -> bool {
    let (mut up, mut down) = ([0; 1024], [0; 1024]);
    while bytes > 0 {
        let passed = tokio::select! {
            read = here.read(&mut up) => pass(read, &up, there, bytes).await,
            read = there.read(&mut down) => pass(read, &down, here, bytes).await,
        };
        match passed {
            None => return false,
            Some(count) => bytes -= count,
        }
    }
    true
}

async fn pass(
    read: std::io::Result<usize>,
    from: &[u8],
    to: &mut TcpStream,
    most: u64,
) -> Option<u64> {
    let count = read.ok().filter(|count| *count > 0)?.min(most as usize);
    to.write_all(&from[..count]).await.ok()?;
    Some(count as u64)
}

//! A TCP proxy that imitates network faults: delays, resets, black holes, trickle.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// A network fault. It applies to open connections and to new ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Toxic {
    #[default]
    Nothing,
    /// Delays every read by this much.
    Latency(Duration),
    /// Forwards this many bytes in each direction of a connection, then resets it.
    CutAfter(u64),
    /// Nothing is forwarded and no side is notified. The data arrives once the fault is over.
    BlackHole,
    /// Forwards requests, but closes the connection in place of an answer.
    DropAnswers,
    /// Loses all data. Neither side is notified until the fault is over.
    HalfOpen,
    /// Forwards one byte at a time, this many a second.
    Trickle(u32),
}

/// Called with the connection's number and each chunk that the target answers.
pub type Tap = Arc<dyn Fn(u64, &[u8]) + Send + Sync>;

/// A proxy before one address. Dropping it closes all its connections.
pub struct Proxy {
    pub address: SocketAddr,
    settings: watch::Sender<Settings>,
    _serving: JoinSet<()>,
}

#[derive(Clone, Default)]
struct Settings {
    toxic: Toxic,
    /// Connections of an earlier generation are cut.
    generation: u64,
    tap: Option<Tap>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let toxic = self.settings.borrow().toxic;
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("toxic", &toxic)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts a proxy on a free port of this machine.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn before(target: SocketAddr) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), target).await
    }

    /// Starts a proxy on this address.
    ///
    /// # Panics
    /// When the address cannot be listened on.
    pub async fn at(address: SocketAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("it is bound");
        let (settings, watching) = watch::channel(Settings::default());
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, target, watching));
        Self { address, settings, _serving: serving }
    }

    pub fn set(&self, toxic: Toxic) {
        self.settings.send_modify(|settings| settings.toxic = toxic);
    }

    /// Ends the fault. Connections that may have lost data are cut, as the kernels of both sides would
    /// do.
    pub fn heal(&self) {
        self.settings.send_modify(|settings| {
            let cut = matches!(settings.toxic, Toxic::HalfOpen | Toxic::CutAfter(_));
            settings.generation += u64::from(cut);
            settings.toxic = Toxic::Nothing;
        });
    }

    /// Cuts all open connections, whatever is in flight.
    pub fn cut(&self) {
        self.settings.send_modify(|settings| settings.generation += 1);
    }

    pub fn tap(&self, tap: Tap) {
        self.settings.send_modify(|settings| settings.tap = Some(tap));
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, settings: watch::Receiver<Settings>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        number += 1;
        let settings = settings.clone();
        connections.spawn(async move {
            let Ok(far) = TcpStream::connect(target).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let (near_in, near_out) = near.into_split();
            let (far_in, far_out) = far.into_split();
            let up = Pump::new(near_in, far_out, None, settings.clone());
            let down = Pump::new(far_in, near_out, Some(number), settings);
            // When one direction ends cleanly, the other may go on until it ends as well.
            let (up, down) = (up.run(), down.run());
            tokio::pin!(up, down);
            let (first, up_ended) = tokio::select! {
                end = &mut up => (end, true),
                end = &mut down => (end, false),
            };
            if let End::Closed = first {
                let _ = if up_ended { down.await } else { up.await };
            }
        });
    }
}

enum End {
    /// The sending side has closed.
    Closed,
    /// Both sides must be dropped.
    Cut,
}

/// One direction of a connection.
struct Pump {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    /// The connection's number, in the direction of the answers.
    answers: Option<u64>,
    settings: watch::Receiver<Settings>,
    generation: u64,
    /// Bytes since the fault began.
    passed: u64,
}

impl Pump {
    fn new(
        from: OwnedReadHalf,
        to: OwnedWriteHalf,
        answers: Option<u64>,
        settings: watch::Receiver<Settings>,
    ) -> Self {
        let generation = settings.borrow().generation;
        Self { from, to, answers, settings, generation, passed: 0 }
    }

    async fn run(mut self) -> End {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = tokio::select! {
                read = self.from.read(&mut buffer) => read,
                changed = self.settings.changed() => {
                    self.passed = 0;
                    if changed.is_err() || self.is_cut() { return End::Cut }
                    continue;
                }
            };
            match read {
                Ok(0) => {
                    let _ = self.to.shutdown().await;
                    return End::Closed;
                }
                Ok(count) => {
                    if self.pass(&buffer[..count]).await.is_none() {
                        return End::Cut;
                    }
                }
                Err(_) => return End::Cut,
            }
        }
    }

    fn is_cut(&self) -> bool {
        self.settings.borrow().generation != self.generation
    }

    /// Forwards a chunk under the current fault; `None` when the connection must end.
    async fn pass(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let Settings { toxic, tap, .. } = self.settings.borrow_and_update().clone();
            if self.is_cut() {
                return None;
            }
            let mut count = bytes.len();
            match toxic {
                Toxic::Latency(time) => sleep(time).await,
                Toxic::CutAfter(limit) => {
                    count = count.min(limit.saturating_sub(self.passed) as usize);
                    if count == 0 {
                        return None;
                    }
                }
                Toxic::DropAnswers if self.answers.is_some() => return None,
                Toxic::Nothing | Toxic::DropAnswers => {}
                Toxic::BlackHole => {
                    self.settings.changed().await.ok()?;
                    continue;
                }
                Toxic::HalfOpen => {
                    // The chunk is dropped, and the connection is cut when the fault ends.
                    return Some(());
                }
                Toxic::Trickle(a_second) => {
                    count = 1;
                    sleep(Duration::from_secs(1) / a_second.max(1)).await;
                }
            }
            if let (Some(tap), Some(connection)) = (tap, self.answers) {
                tap(connection, &bytes[..count]);
            }
            self.to.write_all(&bytes[..count]).await.ok()?;
            self.passed += count as u64;
            bytes = &bytes[count..];
        }
        Some(())
    }
}

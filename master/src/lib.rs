//! The master: stores jobs in a database, hands them out to workers, and serves the REST API.
//!
//! ```text
//! domain <- store <- live <- service <- http      upkeep -> service -> courier
//! ```
//!
//! [`run`] is the entry point. The caller owns the listening socket and the shutdown token.

use std::{fs::DirBuilder, io, net::SocketAddr, os::unix::fs::DirBuilderExt, sync::Arc};

use futures::future::BoxFuture;
use orchestra_contracts::JobStatus;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub mod admin;
pub mod clock;
pub mod config;
pub mod courier;
pub mod domain;
pub mod http;
pub mod live;
pub mod metrics;
pub mod service;
pub mod store;
pub mod upkeep;

mod admission;
mod descriptors;
mod error;
mod reload;
mod secret_key;
mod tasks;

use clock::Clock;
use store::{JobFilter, ListOrder, Store};

pub use config::Config;
pub use error::MasterError;

/// Binds the listening socket to the configured address.
///
/// # Errors
/// [`MasterError::AddressInUse`], [`MasterError::Listen`].
pub async fn bind(config: &Config) -> Result<TcpListener, MasterError> {
    let address = config.listen;
    TcpListener::bind(address).await.map_err(|reason| match reason.kind() {
        io::ErrorKind::AddrInUse => MasterError::AddressInUse(address),
        _ => MasterError::Listen { address, reason },
    })
}

/// Runs a master on this socket until `shutdown` is cancelled and all its tasks have ended.
///
/// The future is boxed so that programs that embed a master do not each compile it again.
///
/// # Errors
/// When the master cannot start, or when one of its tasks crashed.
pub fn run(
    listener: TcpListener,
    config: Config,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), MasterError>> {
    Box::pin(serve(listener, config, shutdown))
}

async fn serve(
    listener: TcpListener,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), MasterError> {
    let descriptors = descriptors::Descriptors::claim(config.max_streams);
    let settings = service::Settings { max_streams: descriptors.streams, ..config.settings()? };
    let address = local_address(&listener, &config)?;
    let tls = config.tls()?;
    if config.database_url.is_none() || config.secret_key_file.is_none() {
        make_data_folder(&config)?;
    }
    // The store opens first: it reports a full disk most clearly.
    let store = store::open_with(&config.database(), config.min_free, config.log_codec).await?;
    let vault = match secret_key::load_or_make(&config.secret_key()) {
        Ok(key) => service::Vault::new(&key),
        Err(error) => {
            store.close().await;
            return Err(error);
        }
    };
    let wall = Arc::new(clock::AdjustedClock::new(Arc::new(clock::SystemClock)));
    let clock = match steady_clock(&*store, wall).await {
        Ok(clock) => clock,
        Err(error) => {
            store.close().await;
            return Err(error.into());
        }
    };
    let (service, claims) =
        service::Service::new(store.clone(), clock, settings, vault, shutdown.clone());
    let access = match admission::prepare(&config, address, &service).await {
        Ok(access) => access,
        Err(error) => {
            store.close().await;
            return Err(error);
        }
    };
    tracing::info!(%address, tls = tls.is_some(), "listening");
    let mut tasks = tasks::Tasks::new(shutdown.clone());
    tasks.spawn("the dispatcher", service::dispatch(service.clone(), claims));
    tasks.spawn("the courier", service::deliver(service.clone()));
    tasks.spawn("notifications of other masters", service::heed(service.clone()));
    tasks.spawn("upkeep", upkeep::run(service.clone(), shutdown.clone()));
    if let Some(file) = config.settings_file.clone() {
        tasks.spawn("settings", reload::run(file, service.clone(), shutdown.clone()));
    }
    let router = http::router(service, access);
    let serving = http::serve_over(tls, listener, router, descriptors.connections, shutdown);
    tasks.spawn("the server", serving);
    let ended = tasks.all_ended().await;
    store.close().await;
    ended
}

fn local_address(listener: &TcpListener, config: &Config) -> Result<SocketAddr, MasterError> {
    let address = config.listen;
    listener.local_addr().map_err(|reason| MasterError::Listen { address, reason })
}

/// The clock of a master on this database: the wall clock, but never behind a time that an earlier
/// master stored. If the wall clock was set back in the meantime, it would keep the leases of dead
/// workers alive for that much longer. Masters that share a database use the database's clock.
///
/// # Errors
/// When the database cannot be read.
pub async fn steady_clock(
    store: &dyn Store,
    wall: Arc<dyn Clock>,
) -> Result<Arc<dyn Clock>, store::StoreError> {
    /// Enough: registered workers report all the time, so held jobs matter only for curl workers.
    const HELD: u32 = 10_000;
    if let Some(time) = store.time().await? {
        wall.adjust(time);
    }
    let newest = JobFilter { order: ListOrder::Newest, limit: 1, ..JobFilter::default() };
    let held = JobFilter {
        statuses: vec![JobStatus::Assigned, JobStatus::Running],
        order: ListOrder::Newest,
        limit: HELD,
        ..JobFilter::default()
    };
    let created = store.jobs(&newest).await?.into_iter().map(|job| job.created_at);
    let held = store.jobs(&held).await?;
    let claimed = held.iter().filter_map(|job| Some(job.lease()?.claimed_at));
    let seen = store.workers().await?.into_iter().map(|worker| worker.seen_at);
    let latest = created.chain(claimed).chain(seen).max();
    Ok(Arc::new(clock::SteadyClock::new(wall, latest)))
}

/// Creates the data folder, accessible to its owner alone: commands and output may be confidential.
fn make_data_folder(config: &Config) -> Result<(), MasterError> {
    let refuse = |reason: io::Error| MasterError::DataFolder { path: config.data.clone(), reason };
    DirBuilder::new().recursive(true).mode(0o700).create(&config.data).map_err(refuse)?;
    let access = rustix::fs::access(&config.data, rustix::fs::Access::WRITE_OK);
    access.map_err(|reason| refuse(reason.into()))
}

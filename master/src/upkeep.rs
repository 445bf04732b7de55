//! What has to be done from time to time. Each pass is a use case of the
//! service, can be called by itself, and does nothing when there is nothing to do.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::service::{Service, ServiceError};

/// How soon a lease that ran out is noticed.
const INTERVAL: Duration = Duration::from_secs(1);

type Pass = fn(&Service) -> BoxFuture<'_, Result<usize, ServiceError>>;

const PASSES: &[(&str, Pass)] = &[
    ("expire leases", |service| service.expire_leases().boxed()),
    ("begin what is scheduled", |service| service.step_schedules().boxed()),
];

/// Makes all passes again and again. One that fails is made again the next time.
pub async fn run(service: Arc<Service>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for (name, pass) in PASSES {
            match pass(&service).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(pass = name, count, "upkeep"),
                Err(error) => tracing::warn!(pass = name, %error, "upkeep failed"),
            }
        }
    }
}

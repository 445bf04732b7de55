//! Periodic maintenance. Each pass is a use case of the service: it can be called on its own, and
//! does nothing when there is nothing to do. Where several masters share a database, one of them
//! (the leader) runs the passes, until it goes away and another takes over.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::service::{Service, ServiceError};

/// The longest time until an expired lease is noticed.
const INTERVAL: Duration = Duration::from_secs(1);

type Pass = fn(&Service) -> BoxFuture<'_, Result<usize, ServiceError>>;

/// The passes, each with its interval.
const PASSES: [(&str, Duration, Pass); 4] = [
    ("expire leases", INTERVAL, |service| service.expire_leases().boxed()),
    ("begin what is scheduled", INTERVAL, |service| service.step_schedules().boxed()),
    ("keep within bounds", INTERVAL, |service| service.keep_within_bounds().boxed()),
    ("forget uploads", Duration::from_mins(10), |service| service.forget_uploads().boxed()),
];

/// Runs all passes periodically. A pass that fails is tried again at its next interval.
pub async fn run(service: Arc<Service>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = PASSES.map(|_| Instant::now());
    let mut led = true;
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = service.keep_up().await {
            tracing::warn!(%error, "the database's clock and tokens are not known");
        }
        match service.leads(led).await {
            Ok(leads) => led = leads,
            Err(error) => {
                led = false;
                tracing::warn!(%error, "whose turn upkeep is is not known");
            }
        }
        if !led {
            continue;
        }
        for ((name, interval, pass), due) in PASSES.iter().zip(&mut due) {
            let now = Instant::now();
            // Passes that run at every tick ignore `due`: its granularity could make them skip a
            // tick.
            if *interval > INTERVAL && now < *due {
                continue;
            }
            *due = now + *interval;
            match pass(&service).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(pass = name, count, "upkeep"),
                Err(error) => tracing::warn!(pass = name, %error, "upkeep failed"),
            }
        }
    }
}

//! What has to be done from time to time. Each pass is a use case of the
//! service, can be called by itself, and does nothing when there is nothing to do. Of several
//! masters on one database one makes them, until it is gone.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::service::{Service, ServiceError};

/// How soon a lease that ran out is noticed.
const INTERVAL: Duration = Duration::from_secs(1);

type Pass = fn(&Service) -> BoxFuture<'_, Result<usize, ServiceError>>;

/// Each with how often it is made.
const PASSES: [(&str, Duration, Pass); 4] = [
    ("expire leases", INTERVAL, |service| service.expire_leases().boxed()),
    ("begin what is scheduled", INTERVAL, |service| service.step_schedules().boxed()),
    ("keep within bounds", INTERVAL, |service| service.keep_within_bounds().boxed()),
    ("forget uploads", Duration::from_mins(10), |service| service.forget_uploads().boxed()),
];

/// Makes all passes again and again. One that fails is made again the next time.
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
            // Those that are made with every tick are not held up by the clock's grain.
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

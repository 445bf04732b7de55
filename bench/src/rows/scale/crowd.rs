//! All scripted workers of one case.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{tally::Tally, worker::Scripted};
use crate::{args::Size, error::BenchError};

/// Time between two starts, so that heartbeats do not coincide.
const APART: Duration = Duration::from_millis(4);

pub(super) struct Crowd {
    tasks: JoinSet<Result<(), BenchError>>,
}

impl Crowd {
    /// Starts them, spread over the masters; returns when all have registered.
    pub(super) async fn start(
        ports: &[u16],
        size: Size,
        tally: &Arc<Tally>,
    ) -> Result<Self, BenchError> {
        let mut tasks = JoinSet::new();
        for number in 0..size.workers {
            let port = ports[number % ports.len()];
            let worker = Scripted::register(port, number, size.slots, tally.clone()).await?;
            worker.spawn(&mut tasks);
            sleep(APART).await;
        }
        Ok(Self { tasks })
    }

    /// Stops them all; returns the error of one that had ended early.
    pub(super) async fn end(mut self) -> Result<(), BenchError> {
        let early = timeout(Duration::ZERO, self.tasks.join_next()).await;
        self.tasks.shutdown().await;
        match early {
            Ok(Some(Ok(Err(error)))) => Err(error),
            Ok(Some(Err(error))) => Err(BenchError::unexpected(error.to_string())),
            _ => Ok(()),
        }
    }
}

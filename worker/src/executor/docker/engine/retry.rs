//! Retries of calls whose answer may be lost. All of these calls are idempotent.

use std::{collections::HashMap, time::Duration};

use bollard::models::ContainerCreateBody;
use tokio::time::{Instant, sleep};

use super::{Engine, EngineError};

/// Pauses before a call without an answer is repeated.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// Pause between checks on a container that is being created.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

impl Engine {
    /// Repeats a call a few times while the engine gives no answer.
    pub(in crate::executor::docker) async fn with_retries<
        T,
        C: Future<Output = Result<T, EngineError>>,
    >(
        &self,
        call: impl Fn() -> C,
    ) -> Result<T, EngineError> {
        for pause in PAUSES {
            match call().await {
                Err(error) if error.is_absence() => tracing::debug!("asking again: {error}"),
                answer => return answer,
            }
            sleep(pause).await;
        }
        call().await
    }

    /// Creates a container, or adopts the one that an unanswered request of this call created after
    /// all. Returns its id. The name makes this safe: the engine creates only one container with
    /// that name.
    pub(in crate::executor::docker) async fn create_with_retries(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, EngineError> {
        let labels = body.labels.clone().unwrap_or_default();
        let mut pauses = PAUSES.into_iter();
        let mut unanswered = false;
        loop {
            match self.create(name, body.clone()).await {
                Ok(id) => return Ok(id),
                Err(conflict @ EngineError::Conflict(_)) if unanswered => {
                    return self.adopt(name, &labels, conflict).await;
                }
                Err(error) if error.is_absence() => {
                    tracing::debug!(container = name, "creating it again: {error}");
                    let Some(pause) = pauses.next() else { return Err(error) };
                    unanswered = true;
                    sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Finds the container that holds the name. The engine reserves a name before the container
    /// becomes visible.
    async fn adopt(
        &self,
        name: &str,
        labels: &HashMap<String, String>,
        conflict: EngineError,
    ) -> Result<String, EngineError> {
        let give_up = Instant::now() + self.limits.slow;
        loop {
            match self.inspect(name).await {
                Ok(found) => {
                    let id = found.id.unwrap_or_else(|| name.to_owned());
                    let theirs = found.config.and_then(|config| config.labels).unwrap_or_default();
                    let ours = labels.iter().all(|(label, value)| theirs.get(label) == Some(value));
                    return if ours { Ok(id) } else { Err(conflict) };
                }
                Err(error) if Instant::now() >= give_up => return Err(error),
                Err(EngineError::NotFound(_)) => sleep(BETWEEN_LOOKS).await,
                Err(error) if error.is_absence() => sleep(BETWEEN_LOOKS).await,
                Err(error) => return Err(error),
            }
        }
    }
}

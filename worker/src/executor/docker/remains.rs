//! Continues an attempt that an earlier process of this worker began.
//!
//! PID 1's output is read from the engine's log, from its first frame on; an attached stream would
//! begin in the middle of a frame. If the container has ended meanwhile, the log still has the
//! sandbox's last message, so the work is not lost.

use std::time::Duration;

use async_trait::async_trait;
use bollard::models::{ContainerState, ContainerSummary, ContainerSummaryStateEnum};
use jiff::Timestamp;
use orchestra_contracts::{AttemptNo, JobId, Outcome, worker::LogHead};
use tokio::sync::{mpsc, watch};

use super::{
    DockerExecutor,
    container::{Container, Keeper, WORKER_LABEL},
    engine::EngineError,
    name,
    prepare::{could_not_start, timeout_of},
    reattach::{state_of, streams_of},
    resume_point::ResumePoint,
    session::{Limits, Sandbox},
    stop_before_start,
    sweep::{Fate, fate_of, name_after_takeover, name_of, process_of},
    taken,
};
use crate::{
    clock,
    config::JobUser,
    control::{Orders, Stop, stopped},
    executor::{End, Left, Remains, RunEvent, RunSpec},
};

/// A container that is renamed between the look-up and the takeover is looked up once more.
const LOOKS: u32 = 2;

/// A container that this process has taken over.
struct Found {
    container: Container,
    user: JobUser,
    grace: Duration,
}

impl DockerExecutor {
    pub(super) async fn find(&self, job: JobId, attempt: AttemptNo) -> Result<Left, EngineError> {
        for _ in 0..LOOKS {
            let Some(container) = self.keeper.container_of(job, attempt).await? else {
                return Ok(Left::Nothing);
            };
            if fate_of(&process_of(&container)) != Fate::Dead {
                return Ok(Left::NotOurs);
            }
            if let Some(container) = self.keeper.take_over(&container, (job, attempt)).await? {
                let (user, grace) = (self.worker_files.user, self.grace);
                return Ok(Left::Ours(Box::new(Found { container, user, grace })));
            }
        }
        Ok(Left::NotOurs)
    }
}

impl Keeper {
    /// The container of an attempt: found by its name, otherwise by what the sandbox in a warm
    /// container has said.
    async fn container_of(
        &self,
        job: JobId,
        attempt: AttemptNo,
    ) -> Result<Option<ContainerSummary>, EngineError> {
        let ours = format!("{WORKER_LABEL}={}", self.worker);
        let mut containers = self.engine.labelled(&[ours]).await?;
        // A failed start that was repeated leaves two containers. The running one comes first.
        containers.sort_by_key(|it| it.state != Some(ContainerSummaryStateEnum::RUNNING));
        let named = |it: &ContainerSummary| {
            name_of(it).and_then(|name| name::attempt_in(&name)) == Some((job, attempt))
        };
        if let Some(index) = containers.iter().position(named) {
            return Ok(Some(containers.swap_remove(index)));
        }
        for container in containers {
            let Some(name) = name_of(&container).filter(|name| name::is_warm(name)) else {
                continue;
            };
            match taken::attempt_of(&self.engine, container.id.as_ref().unwrap_or(&name)).await {
                Ok(taken) if taken == Some(name::told(job, attempt)) => return Ok(Some(container)),
                Ok(_) | Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// `None` if another process was faster, or the engine carried out an earlier rename late.
    async fn take_over(
        &self,
        container: &ContainerSummary,
        (job, attempt): (JobId, AttemptNo),
    ) -> Result<Option<Container>, EngineError> {
        let Some(name) = name_of(container) else { return Ok(None) };
        let of_attempt =
            if name::is_warm(&name) { name::of_attempt(job, attempt) } else { name.clone() };
        let ours = name_after_takeover(&of_attempt, &self.process);
        let (id, mut container) = (container.id.clone(), self.container(ours.clone()));
        match self.engine.rename(&name, &ours).await {
            Ok(()) => {
                container.is_made(id.unwrap_or(ours));
                Ok(Some(container))
            }
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Remains for Found {
    async fn resume(
        self: Box<Self>,
        spec: RunSpec,
        stored: LogHead,
        mut orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        let Self { container, user, grace } = *self;
        let found = async {
            let engine = container.engine();
            let state = engine.with_retries(|| state_of(&container)).await?;
            let streams = engine.with_retries(|| streams_of(&container, &state)).await?;
            Ok::<_, EngineError>((streams, state))
        };
        let (streams, state) = match found.await {
            Ok(found) => found,
            Err(error) => {
                container.remove().await;
                return could_not_start(error).into();
            }
        };
        // Its fence is the last renewal by the earlier process, which is not later than this.
        let times = (began(&state), orders.borrow().until);
        let mut sandbox =
            Sandbox::found((container, user), streams, times, ResumePoint::after(stored));
        let begun = tokio::select! {
            begun = sandbox.hear_beginning(&events) => begun,
            () = stopped(&mut orders, Stop::HandBack) => Err(stop_before_start(&orders)),
        };
        let end = match begun {
            Ok(()) => {
                let limits = Limits { timeout: timeout_of(&spec), grace };
                sandbox.converse(limits, orders.clone(), events).await
            }
            Err(outcome) => sandbox.kill(outcome).await,
        };
        let stop = orders.borrow().stop;
        End { outcome: blame(end.outcome, stop), ..end }
    }
}

/// Adjusts the outcome of an attempt whose worker was away. That absence is neither the command's
/// fault nor a lost lease. It is not a hand-back either, because no budget bounds those: a command
/// that takes its host down must come to an end.
fn blame(outcome: Outcome, stop: Option<Stop>) -> Outcome {
    match outcome {
        // Its own fence ended it although the lease was renewed, so the master still expects a
        // report.
        Outcome::Lost if stop != Some(Stop::Lost) => Outcome::CouldNotStart {
            reason: "its worker was away for longer than its lease".to_owned(),
        },
        // Perhaps the engine or the host went down too.
        Outcome::CouldNotStart { reason } => {
            Outcome::CouldNotStart { reason: format!("after its worker went away: {reason}") }
        }
        outcome => outcome,
    }
}

/// When its sandbox started, in microseconds since 1970. The current time if the engine does not
/// say.
fn began(state: &ContainerState) -> u64 {
    let started = state.started_at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
    let micros = started.and_then(|at| u64::try_from(at.as_microsecond()).ok());
    micros.unwrap_or_else(clock::wall_micros)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::the_fence_fired(Outcome::Lost, None, true)]
    #[case::the_lease_is_lost(Outcome::Lost, Some(Stop::Lost), false)]
    #[case::it_went_down(Outcome::CouldNotStart { reason: "its container ended".into() }, None, true)]
    #[case::the_command_ended(Outcome::Exited { code: 1 }, None, false)]
    #[case::at_shutdown(Outcome::HandedBack, Some(Stop::HandBack), false)]
    fn an_absence_is_on_our_budget(
        #[case] outcome: Outcome,
        #[case] stop: Option<Stop>,
        #[case] ours: bool,
    ) {
        let blamed = blame(outcome.clone(), stop);
        match &blamed {
            Outcome::CouldNotStart { reason } => assert!(ours && reason.contains("away")),
            _ => assert!(!ours && blamed == outcome),
        }
    }
}

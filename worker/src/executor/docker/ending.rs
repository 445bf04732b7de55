//! From the way in which a sandbox ended to the outcome of the attempt. The
//! command's failures are told apart from ours, and neither is called the other.

use std::time::Duration;

use bollard::models::ContainerState;
use orchestra_contracts::{Outcome, Usage};
use orchestra_sandbox::protocol::{Exit, Killed, Status};
use tokio::time::sleep;

use super::{container::Container, engine::EngineError};
use crate::executor::End;

const SIGKILL: u8 = 9;
/// The engine learns of a container's end some 30 ms after its streams have closed.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// After the sandbox's own word.
pub(super) async fn of_exit(container: &Container, exit: &Exit) -> End {
    let engine_saw_it = looks_killed(exit) && was_out_of_memory(container).await;
    let usage = Usage {
        cpu_ms: millis(exit.cpu),
        peak_memory: exit.peak_memory,
        wall_ms: millis(exit.wall),
    };
    End { outcome: outcome_of(exit, engine_saw_it), usage: Some(usage) }
}

fn outcome_of(exit: &Exit, engine_saw_oom: bool) -> Outcome {
    match (exit.killed, exit.status) {
        (Some(Killed::TimedOut), _) => Outcome::TimedOut,
        (Some(Killed::Asked), _) => Outcome::Cancelled,
        (Some(Killed::LeaseExpired), _) => Outcome::Lost,
        // A shell that got over a killed child and succeeded has succeeded.
        (None, Status::Code(0)) => Outcome::Exited { code: 0 },
        (None, _) if exit.oom_kills > 0 || engine_saw_oom => Outcome::OutOfMemory,
        (None, Status::Code(code)) => Outcome::Exited { code: code.into() },
        (None, Status::Signal(signal)) => Outcome::Signalled { signal: signal.into() },
    }
}

/// Where the sandbox cannot read its cgroup, the engine may know more.
fn looks_killed(exit: &Exit) -> bool {
    let by_signal = matches!(exit.status, Status::Signal(SIGKILL) | Status::Code(137));
    by_signal && exit.killed.is_none() && exit.oom_kills == 0
}

async fn was_out_of_memory(container: &Container) -> bool {
    let state = state_of(container).await;
    state.is_ok_and(|state| state.oom_killed == Some(true))
}

/// After a sandbox that ended without a word.
pub(super) async fn of_silence(container: &Container, silence: &str, complaints: &str) -> Outcome {
    if was_out_of_memory(container).await {
        return Outcome::OutOfMemory;
    }
    Outcome::CouldNotStart { reason: after_silence(container, silence, complaints).await }
}

/// What the engine and PID 1 itself know of such an end, in a sentence.
pub(super) async fn after_silence(
    container: &Container,
    silence: &str,
    complaints: &str,
) -> String {
    let fate = match settled_state(container).await {
        Err(EngineError::NotFound(_)) => "somebody removed its container".to_owned(),
        Err(error) => error.to_string(),
        Ok(state) if state.running == Some(true) => {
            format!("the connection to its container broke: {silence}")
        }
        Ok(ContainerState { exit_code, error, .. }) => {
            let code = exit_code.unwrap_or_default();
            let error = error.unwrap_or_default();
            format!("its container ended early with code {code} {error}").trim_end().to_owned()
        }
    };
    match complaints.trim() {
        "" => fate,
        complaints => format!("{fate}: {complaints}"),
    }
}

/// The container's state once the engine has seen that it ended, or after a while.
async fn settled_state(container: &Container) -> Result<ContainerState, EngineError> {
    let mut state = state_of(container).await?;
    for _ in 0..LOOKS {
        if state.running != Some(true) {
            break;
        }
        sleep(BETWEEN_LOOKS).await;
        state = state_of(container).await?;
    }
    Ok(state)
}

async fn state_of(container: &Container) -> Result<ContainerState, EngineError> {
    let described = container.engine().inspect(container.name()).await?;
    Ok(described.state.unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const CODE_1: Status = Status::Code(1);
    const KILLED: Status = Status::Signal(SIGKILL);

    #[rstest]
    #[case(Status::Code(0), None, 0, false, Outcome::Exited { code: 0 })]
    #[case(Status::Code(255), None, 0, false, Outcome::Exited { code: 255 })]
    #[case(Status::Signal(11), None, 0, false, Outcome::Signalled { signal: 11 })]
    #[case::a_child_went_over_memory(CODE_1, None, 1, false, Outcome::OutOfMemory)]
    #[case::and_the_shell_did_not_mind(Status::Code(0), None, 1, false, Outcome::Exited { code: 0 })]
    #[case::only_the_engine_saw_it(KILLED, None, 0, true, Outcome::OutOfMemory)]
    #[case::killed_by_itself(KILLED, None, 0, false, Outcome::Signalled { signal: 9 })]
    #[case(KILLED, Some(Killed::TimedOut), 0, false, Outcome::TimedOut)]
    #[case(Status::Code(0), Some(Killed::Asked), 0, false, Outcome::Cancelled)]
    #[case(KILLED, Some(Killed::LeaseExpired), 1, true, Outcome::Lost)]
    fn every_end_has_its_outcome(
        #[case] status: Status,
        #[case] killed: Option<Killed>,
        #[case] oom_kills: u32,
        #[case] engine_saw_oom: bool,
        #[case] outcome: Outcome,
    ) {
        let exit = Exit {
            status,
            killed,
            oom_kills,
            cpu: Duration::ZERO,
            wall: Duration::ZERO,
            peak_memory: 0,
        };
        assert_eq!(outcome_of(&exit, engine_saw_oom), outcome);
    }
}

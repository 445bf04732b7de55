//! Turns the way a sandbox ended into the outcome of the attempt. It distinguishes the command's
//! failures from Orchestra's own.

use std::time::Duration;

use bollard::models::ContainerState;
use orchestra_contracts::{Outcome, Usage};
use orchestra_sandbox::protocol::{Exit, Killed, Status};
use tokio::time::sleep;

use super::{
    container::Container,
    engine::EngineError,
    reattach::{runs, state_of},
};
use crate::executor::End;

/// The exit code that the engine reports for a PID 1 that was killed.
const SIGKILLED: i64 = 137;
/// The engine notices a container's end some 30 ms after its streams have closed.
pub(super) const LOOKS: u32 = 20;
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The end of an attempt whose sandbox reported its exit. `renewed` says that the lease still holds
/// as far as the worker knows.
pub(super) async fn of_exit(container: &Container, exit: &Exit, renewed: bool) -> End {
    let out_of_memory = match exit.oom_kills {
        Some(kills) => kills > 0,
        // The sandbox cannot read its cgroup. The engine may know more.
        None => settled_state(container).await.is_ok_and(|state| state.oom_killed == Some(true)),
    };
    let usage = Usage {
        cpu_ms: millis(exit.cpu),
        peak_memory: exit.peak_memory,
        wall_ms: millis(exit.wall),
        throttles: exit.throttled.map(|it| it.times),
        throttled_ms: exit.throttled.map(|it| millis(it.time)),
        ..Usage::default()
    };
    let outcome = outcome_of(exit, out_of_memory, renewed);
    End { usage: Some(usage), ..outcome.into() }
}

fn outcome_of(exit: &Exit, out_of_memory: bool, renewed: bool) -> Outcome {
    match (exit.killed, exit.status) {
        (Some(Killed::TimedOut), _) => Outcome::TimedOut,
        (Some(Killed::Asked), _) => Outcome::Cancelled,
        (Some(Killed::LeaseExpired), _) if renewed => of_trouble("no renewal reached it"),
        (Some(Killed::LeaseExpired), _) => Outcome::Lost,
        // Even if the shell succeeded: the work of the killed child is missing.
        (None, _) if out_of_memory => Outcome::OutOfMemory,
        (None, Status::Code(code)) => Outcome::Exited { code: code.into() },
        (None, Status::Signal(signal)) => Outcome::Signalled { signal: signal.into() },
    }
}

/// The outcome of a container that ended without a last message from its sandbox. `absence` is what
/// kept the engine from answering before that, if anything did.
pub(super) fn of_silence(
    state: &ContainerState,
    complaints: &str,
    absence: Option<&str>,
) -> Outcome {
    let code = state.exit_code.unwrap_or_default();
    let error = state.error.as_deref().unwrap_or_default();
    let fate = match absence {
        Some(_) => format!("the engine was restarted and its container ended with it, code {code}"),
        None if state.oom_killed == Some(true) => return Outcome::OutOfMemory,
        None if code == SIGKILLED => {
            format!("somebody killed its container, which ended with code {code}")
        }
        None => format!("its container ended early with code {code}"),
    };
    let mut reason = fate;
    for more in [error, complaints.trim()] {
        if !more.is_empty() {
            reason = format!("{reason}: {more}");
        }
    }
    Outcome::CouldNotStart { reason }
}

pub(super) fn of_removed() -> Outcome {
    Outcome::CouldNotStart { reason: "somebody removed its container".to_owned() }
}

/// The outcome when the connection is unusable.
pub(super) fn of_garbled(why: &str) -> Outcome {
    Outcome::CouldNotStart { reason: format!("the connection to its container broke: {why}") }
}

/// The outcome when the engine did not answer for longer than the sandbox lives without hearing
/// from its worker.
pub(super) fn of_trouble(why: &str) -> Outcome {
    let reason = format!("the engine did not answer for longer than its lease: {why}");
    Outcome::CouldNotStart { reason }
}

/// The container's state once the engine has noticed its end, or after a while.
async fn settled_state(container: &Container) -> Result<ContainerState, EngineError> {
    let mut state = state_of(container).await?;
    for _ in 0..LOOKS {
        if !runs(&state) {
            break;
        }
        sleep(BETWEEN_LOOKS).await;
        state = state_of(container).await?;
    }
    Ok(state)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const CODE_0: Status = Status::Code(0);
    const CODE_1: Status = Status::Code(1);
    const KILLED: Status = Status::Signal(9);

    #[rstest]
    #[case(CODE_0, None, false, Outcome::Exited { code: 0 })]
    #[case(Status::Code(255), None, false, Outcome::Exited { code: 255 })]
    #[case(Status::Signal(11), None, false, Outcome::Signalled { signal: 11 })]
    #[case::a_child_went_over_memory(CODE_1, None, true, Outcome::OutOfMemory)]
    #[case::and_the_shell_did_not_mind(CODE_0, None, true, Outcome::OutOfMemory)]
    #[case::killed_by_itself(KILLED, None, false, Outcome::Signalled { signal: 9 })]
    #[case(KILLED, Some(Killed::TimedOut), false, Outcome::TimedOut)]
    #[case(CODE_0, Some(Killed::Asked), false, Outcome::Cancelled)]
    #[case(KILLED, Some(Killed::LeaseExpired), true, Outcome::Lost)]
    fn every_end_has_its_outcome(
        #[case] status: Status,
        #[case] killed: Option<Killed>,
        #[case] out_of_memory: bool,
        #[case] outcome: Outcome,
    ) {
        assert_eq!(outcome_of(&exit(status, killed), out_of_memory, false), outcome);
    }

    fn exit(status: Status, killed: Option<Killed>) -> Exit {
        let (cpu, wall) = (Duration::ZERO, Duration::ZERO);
        Exit {
            status,
            killed,
            oom_kills: None,
            cpu,
            wall,
            peak_memory: 0,
            throttled: None,
            said: 0,
        }
    }

    /// The worker renewed the lease, and the engine did not pass that on.
    #[test]
    fn a_fence_that_fires_under_a_lease_that_holds_is_the_engines_doing() {
        let exit = exit(KILLED, Some(Killed::LeaseExpired));
        assert!(matches!(outcome_of(&exit, false, true), Outcome::CouldNotStart { .. }));
    }

    #[rstest]
    #[case::by_somebody(137, false, None, "somebody killed")]
    #[case::by_the_engine(137, false, Some("refused"), "the engine was restarted")]
    #[case::by_the_engine_after_a_child_had_gone_over(
        137,
        true,
        Some("refused"),
        "the engine was restarted"
    )]
    #[case::by_itself(125, false, None, "code 125: a complaint")]
    fn an_end_without_a_word_is_never_the_commands_failure(
        #[case] code: i64,
        #[case] oom_killed: bool,
        #[case] absence: Option<&str>,
        #[case] told: &str,
    ) {
        let state = ContainerState {
            exit_code: Some(code),
            oom_killed: Some(oom_killed),
            ..ContainerState::default()
        };
        match of_silence(&state, "a complaint\n", absence) {
            Outcome::CouldNotStart { reason } => assert!(reason.contains(told), "{reason}"),
            outcome => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn the_engine_tells_that_memory_ran_out() {
        let state = ContainerState { oom_killed: Some(true), ..ContainerState::default() };
        assert_eq!(of_silence(&state, "", None), Outcome::OutOfMemory);
    }
}

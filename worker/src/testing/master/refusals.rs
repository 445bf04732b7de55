//! The errors that the fake master answers with.

use orchestra_client::ClientError;
use orchestra_contracts::{Problem, ProblemKind, worker::LogHead};

pub(super) fn problem(kind: ProblemKind, status: u16) -> ClientError {
    ClientError::Refused(Box::new(Problem {
        kind,
        title: String::new(),
        status,
        detail: format!("{kind:?}"),
        errors: Vec::new(),
        hint: None,
        log: None,
        artifact: None,
    }))
}

pub(super) fn unanswered() -> ClientError {
    ClientError::Unreachable {
        url: "master".into(),
        reason: "it does not listen".into(),
        sent: false,
    }
}

pub(super) fn misplaced(head: LogHead) -> ClientError {
    with_head(ProblemKind::LogOffset, head)
}

pub(super) fn with_head(kind: ProblemKind, head: LogHead) -> ClientError {
    let ClientError::Refused(mut refusal) = problem(kind, 409) else {
        unreachable!("problems are refusals")
    };
    refusal.log = Some(head);
    ClientError::Refused(refusal)
}

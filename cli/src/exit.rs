//! What to exit with. A pure function of how a job ended.

use std::process::ExitCode;

use orchestra_contracts::{Job, JobStatus, Outcome};
use orchestra_program::OWN_FAILURE;

/// The code of timeout(1).
const TIMED_OUT: u8 = 124;
/// What a shell shows for SIGKILL, which is how the kernel ends what is too large.
const OUT_OF_MEMORY: u8 = 137;
/// What a shell shows for SIGINT: we were told to give up.
pub(crate) const INTERRUPTED: u8 = 130;

/// A code to exit with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    pub(crate) const SUCCESS: Self = Self(0);
    pub(crate) const FAILURE: Self = Self(OWN_FAILURE);

    /// The code of an ended job: its command's own where the command ended by
    /// itself, 128 + n for a signal, 124 and 137 for its limits, 125 for the rest.
    pub(crate) fn of(job: &Job) -> Self {
        match &job.outcome {
            Some(Outcome::Exited { code }) => Self(code.to_le_bytes()[0]),
            Some(Outcome::Signalled { signal }) => Self((128 + signal).to_le_bytes()[0]),
            Some(Outcome::TimedOut) => Self(TIMED_OUT),
            Some(Outcome::OutOfMemory) => Self(OUT_OF_MEMORY),
            Some(
                Outcome::Cancelled
                | Outcome::Skipped { .. }
                | Outcome::ImageUnavailable { .. }
                | Outcome::Lost
                | Outcome::HandedBack
                | Outcome::Poison { .. }
                | Outcome::CouldNotStart { .. }
                | Outcome::Refused { .. },
            ) => Self::FAILURE,
            None => Self::of_status(job),
        }
    }

    /// A worker that says nothing but a status has no more to tell.
    fn of_status(job: &Job) -> Self {
        match (job.status, job.exit_code) {
            (JobStatus::Completed, _) => Self::SUCCESS,
            (JobStatus::Failed, Some(code)) if code != 0 => Self(code.to_le_bytes()[0]),
            _ => Self::FAILURE,
        }
    }
}

/// The sentence that explains an end which the command did not choose itself.
pub(crate) fn reason(job: &Job) -> Option<String> {
    if let Some(Outcome::Exited { .. }) = job.outcome {
        return None;
    }
    let why = match (&job.reason, &job.outcome) {
        (Some(reason), _) => reason.clone(),
        (None, Some(outcome)) => outcome.to_string(),
        (None, None) if job.status == JobStatus::Completed => return None,
        (None, None) => format!("ended as {}", job.status),
    };
    Some(format!("job {}: {why}", job.id))
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::Timestamp;
    use orchestra_contracts::{Condition, JobId, JobSpec};
    use rstest::rstest;

    use super::*;

    pub(crate) fn job(status: JobStatus, outcome: Option<Outcome>) -> Job {
        Job {
            id: JobId(7),
            spec: JobSpec::new("true"),
            status,
            assigned_worker: None,
            retry_count: 0,
            array_id: None,
            array_index: None,
            warnings: Vec::new(),
            attempt: None,
            cancelling: false,
            output: String::new(),
            error: String::new(),
            output_truncated: false,
            exit_code: None,
            reason: outcome.as_ref().map(ToString::to_string),
            outcome,
            usage: None,
            created_at: Timestamp::UNIX_EPOCH,
            started_at: None,
            finished_at: None,
            not_before: None,
        }
    }

    fn why() -> String {
        "why".to_owned()
    }

    #[rstest]
    #[case(Outcome::Exited { code: 0 }, 0)]
    #[case(Outcome::Exited { code: 3 }, 3)]
    #[case(Outcome::Exited { code: 255 }, 255)]
    #[case(Outcome::Signalled { signal: 9 }, 137)]
    #[case(Outcome::Signalled { signal: 11 }, 139)]
    #[case(Outcome::TimedOut, 124)]
    #[case(Outcome::OutOfMemory, 137)]
    #[case(Outcome::Cancelled, 125)]
    #[case(Outcome::Skipped { job: JobId(1), ended: JobStatus::Failed, needs: Condition::AfterOk }, 125)]
    #[case(Outcome::Lost, 125)]
    #[case(Outcome::Poison { lost: 3 }, 125)]
    #[case(Outcome::HandedBack, 125)]
    #[case(Outcome::ImageUnavailable { reason: why() }, 125)]
    #[case(Outcome::CouldNotStart { reason: why() }, 125)]
    #[case(Outcome::Refused { reason: why() }, 125)]
    fn each_outcome_has_its_code(#[case] outcome: Outcome, #[case] code: u8) {
        let own = matches!(outcome, Outcome::Exited { .. });
        let job = job(JobStatus::Failed, Some(outcome));
        assert_eq!(Exit::of(&job), Exit(code));
        assert_eq!(reason(&job).is_none(), own);
    }

    #[test]
    fn a_worker_made_of_curl_is_understood() {
        let completed = job(JobStatus::Completed, None);
        assert_eq!((Exit::of(&completed), reason(&completed)), (Exit::SUCCESS, None));
        let mut failed = job(JobStatus::Failed, None);
        assert_eq!(Exit::of(&failed), Exit::FAILURE);
        assert_eq!(reason(&failed).as_deref(), Some("job 7: ended as Failed"));
        failed.exit_code = Some(4);
        assert_eq!(Exit::of(&failed), Exit(4));
    }
}

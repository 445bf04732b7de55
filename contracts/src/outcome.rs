//! Why an attempt, and with it a job, ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Condition, JobId, JobStatus};

/// Why an attempt ended. Its [`Display`](fmt::Display) is the one line that people read.
///
/// For retries, outcomes fall into three groups; see [`Outcome::blame`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// The command exited by itself. Only code 0 is a success.
    Exited { code: i32 },
    /// A signal that Orchestra did not send ended the shell.
    Signalled { signal: i32 },
    /// It exceeded its timeout and was killed.
    TimedOut,
    /// The kernel killed it, or one of its children, for exceeding the memory limit.
    OutOfMemory,
    /// Somebody cancelled it.
    Cancelled,
    /// It depended on a job that did not end as required. Only the master sets this.
    Skipped { job: JobId, ended: JobStatus, needs: Condition },
    /// Its image could not be built or found.
    ImageUnavailable { reason: String },
    /// Its worker stopped responding before it reported an end.
    Lost,
    /// Its worker handed it back unfinished, for example at shutdown.
    HandedBack,
    /// So many attempts were lost that the job itself is the likely cause, so it is not given to
    /// another worker. Only the master sets this, and only on the job; each of its attempts is
    /// `Lost`.
    Poison { lost: u32 },
    /// The engine could not create, start or keep the container.
    CouldNotStart { reason: String },
    /// No retry can help: what the job asks for is not allowed or does not exist here.
    Refused { reason: String },
}

/// Which budget pays for a retry after an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The attempt succeeded, or no retry could help.
    Nobody,
    /// The command failed: `maxRetries` pays.
    Command,
    /// Orchestra failed: a separate, bounded budget pays, never the user's.
    Infrastructure,
}

impl Outcome {
    /// All values that [`Outcome::kind`] returns.
    pub const KINDS: [&str; 12] = [
        "exited",
        "signalled",
        "timedOut",
        "outOfMemory",
        "cancelled",
        "skipped",
        "imageUnavailable",
        "lost",
        "handedBack",
        "poison",
        "couldNotStart",
        "refused",
    ];

    /// The name of the kind on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Exited { .. } => "exited",
            Self::Signalled { .. } => "signalled",
            Self::TimedOut => "timedOut",
            Self::OutOfMemory => "outOfMemory",
            Self::Cancelled => "cancelled",
            Self::Skipped { .. } => "skipped",
            Self::ImageUnavailable { .. } => "imageUnavailable",
            Self::Lost => "lost",
            Self::HandedBack => "handedBack",
            Self::Poison { .. } => "poison",
            Self::CouldNotStart { .. } => "couldNotStart",
            Self::Refused { .. } => "refused",
        }
    }

    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }

    pub fn blame(&self) -> Blame {
        match self {
            Self::Exited { code: 0 }
            | Self::Cancelled
            | Self::Skipped { .. }
            | Self::Poison { .. }
            | Self::Refused { .. } => Blame::Nobody,
            Self::Exited { .. } | Self::Signalled { .. } | Self::TimedOut | Self::OutOfMemory => {
                Blame::Command
            }
            Self::ImageUnavailable { .. }
            | Self::Lost
            | Self::HandedBack
            | Self::CouldNotStart { .. } => Blame::Infrastructure,
        }
    }

    /// The exit code that a shell would show: the command's own, or 128 + the signal.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exited { code } => Some(*code),
            Self::Signalled { signal } => Some(128 + signal),
            Self::OutOfMemory => Some(137),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code: 0 } => f.write_str("succeeded"),
            Self::Exited { code: 126 } => {
                f.write_str("exited with code 126: a file is not executable")
            }
            Self::Exited { code: 127 } => {
                f.write_str("exited with code 127: a command was not found in the image")
            }
            Self::Exited { code } => write!(f, "exited with code {code}"),
            Self::Signalled { signal } => write!(f, "ended by signal {signal}"),
            Self::TimedOut => f.write_str("ran longer than its timeout and was ended"),
            Self::OutOfMemory => {
                f.write_str("went over its memory limit; ask for more with resources.memory")
            }
            Self::Cancelled => f.write_str("cancelled"),
            Self::Skipped { job, ended, needs } => {
                let ended = match ended {
                    JobStatus::Cancelled => "was cancelled",
                    JobStatus::Failed => "failed",
                    _ => "completed",
                };
                let needs = match needs {
                    Condition::AfterOk => "has completed",
                    Condition::AfterAny => "has ended",
                    Condition::AfterFailed => "has failed",
                };
                write!(f, "skipped: job {job} {ended}, and this one begins only after it {needs}")
            }
            Self::ImageUnavailable { reason } => write!(f, "its image is not available: {reason}"),
            Self::Lost => f.write_str("its worker stopped answering"),
            Self::HandedBack => f.write_str("its worker gave it back unfinished"),
            Self::Poison { lost } => write!(
                f,
                "lost its worker {lost} times and is not given to another; see whether the command takes its host down"
            ),
            Self::CouldNotStart { reason } => write!(f, "could not be run: {reason}"),
            Self::Refused { reason } => write!(f, "refused: {reason}"),
        }
    }
}

/// The resources and time that an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// User plus system time of the whole process tree, in milliseconds.
    pub cpu_ms: u64,
    /// Peak memory of the container in bytes; 0 if the kernel does not report it.
    pub peak_memory: u64,
    /// Run time in milliseconds, from the start of the shell to its end.
    pub wall_ms: u64,
    /// How often the container was throttled because it had used up its CPU quota, and for how long
    /// in total. Absent if the kernel does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttles: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_ms: Option<u64>,
    /// From the claim until the image is available, including builds and pulls. This field and the
    /// next two are absent if the worker that finished the attempt did not start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_ms: Option<u64>,
    /// From the available image to a ready container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// From the end of the command until the log is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_the_word_of_the_wire() {
        let (job, ended, needs) = (JobId(1), JobStatus::Failed, Condition::AfterOk);
        let all = [
            Outcome::Exited { code: 0 },
            Outcome::Signalled { signal: 9 },
            Outcome::TimedOut,
            Outcome::OutOfMemory,
            Outcome::Cancelled,
            Outcome::Skipped { job, ended, needs },
            Outcome::ImageUnavailable { reason: String::new() },
            Outcome::Lost,
            Outcome::HandedBack,
            Outcome::Poison { lost: 3 },
            Outcome::CouldNotStart { reason: String::new() },
            Outcome::Refused { reason: String::new() },
        ];
        assert_eq!(all.each_ref().map(Outcome::kind), Outcome::KINDS);
        for outcome in all {
            assert_eq!(serde_json::to_value(&outcome).unwrap()["kind"], outcome.kind());
        }
    }
}

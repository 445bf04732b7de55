//! Why an attempt, and with it a job, ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Condition, JobId, JobStatus};

/// Why an attempt ended. Its [`Display`](fmt::Display) is the one line that
/// people read.
///
/// Three groups matter for retries, see [`Outcome::blame`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// The command ended by itself. Only code 0 is success.
    Exited { code: i32 },
    /// The shell was ended by a signal that nobody here sent.
    Signalled { signal: i32 },
    /// It ran longer than its timeout and was ended.
    TimedOut,
    /// The kernel ended it, or a child of it, for going over its memory limit.
    OutOfMemory,
    /// Somebody asked for it.
    Cancelled,
    /// It was to begin after a job that ended otherwise than it must have. Only the master says it.
    Skipped { job: JobId, ended: JobStatus, needs: Condition },
    /// Its image could not be built or found.
    ImageUnavailable { reason: String },
    /// Its worker stopped answering before it reported an end.
    Lost,
    /// Its worker gave it back unfinished, for example when shutting down.
    HandedBack,
    /// So many attempts were lost that the job itself is suspected: it is not given to a
    /// further worker. Only the master says it, of a job; each of the attempts is `Lost`.
    Poison { lost: u32 },
    /// The engine could not create, start or keep the container.
    CouldNotStart { reason: String },
    /// No retry can help: what the job asks for is not allowed or does not exist here.
    Refused { reason: String },
}

/// Who pays for a retry after an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// It succeeded, or no retry could help.
    Nobody,
    /// The command failed: `maxRetries` pays.
    Command,
    /// We failed: a bounded budget of ours pays, never the user's.
    Infrastructure,
}

impl Outcome {
    /// What [`Outcome::kind`] can say.
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

    /// Its kind in the word of the wire.
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

    /// The exit code a shell would show: the command's own, or 128 + the signal.
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

/// What an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// User plus system time of the whole process tree, in milliseconds.
    pub cpu_ms: u64,
    /// The most memory the container held at once, in bytes; 0 where the kernel does not tell.
    pub peak_memory: u64,
    /// From the start of the shell to its end, in milliseconds: the time of the run.
    pub wall_ms: u64,
    /// How often it was held back because it had used up its share of the processor, and for
    /// how long in all; absent where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttles: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_ms: Option<u64>,
    /// From the claim to the image, builds and pulls included; like the next two, absent where
    /// the worker that began it was not the one that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_ms: Option<u64>,
    /// From the image to a container that is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// From the end of the command to a log that is stored.
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

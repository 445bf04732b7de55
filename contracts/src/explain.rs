//! Why a job is in its current state, for people and for programs.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{AttemptNo, Condition, JobId, JobStatus, Outcome, QueueName, WorkerName};

/// The answer to `GET /api/job/{id}/explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub job: JobId,
    pub status: JobStatus,
    /// Everything that delays the job, ordered by time or weight; never empty.
    pub reasons: Vec<Reason>,
    /// Things that do not delay the job but may surprise its submitter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// Something that may surprise the submitter of a job, as text and as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    pub code: WarningOf,
    /// A sentence without its full stop.
    pub text: String,
    /// What to do about it.
    pub hint: String,
}

/// The kinds of warning. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WarningOf {
    /// The job runs in a shared folder, and its queue's workers have more than one of those.
    SharedFolder,
}

impl Warning {
    /// The most places that the text names.
    const NAMED: usize = 5;

    /// Warns that a job of this queue finds a different shared folder in each of these places. A
    /// place is a host, or the value of the label [`FILES_LABEL`] of workers that share a folder.
    pub fn shared_folder(queue: &str, places: &[&str]) -> Self {
        let named = places.iter().take(Self::NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = match places.len().saturating_sub(Self::NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Self {
            code: WarningOf::SharedFolder,
            text: format!(
                "it runs in the shared folder, of which the workers of queue {queue} that can take it have \
                 {} ({named}{more}): what other jobs left in one is not in the others",
                places.len()
            ),
            hint: format!(
                "keep it to one with a queue of its own or `--require {FILES_LABEL}=NAME`, or run it with \
                 `--private`; workers that share one folder say so with ORCHESTRA_LABELS={FILES_LABEL}=NAME"
            ),
        }
    }
}

/// The label of workers that share one folder; its value names the folder.
pub const FILES_LABEL: &str = "files";

/// One reason, as text and as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// A sentence without its full stop.
    pub text: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(flatten)]
    pub cause: Cause,
}

impl From<Cause> for Reason {
    fn from(cause: Cause) -> Self {
        Self { text: cause.to_string(), hint: cause.hint(), cause }
    }
}

/// Why a job waits, is held, or has ended. The values of `code` are stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Cause {
    /// Its start was delayed by the submission.
    NotBefore {
        at: Timestamp,
    },
    /// An attempt failed, and the next one waits for its backoff.
    Retry {
        at: Timestamp,
        after: AttemptNo,
        reason: String,
    },
    /// Jobs that it depends on have not ended: their number, and the first of them.
    After {
        jobs: Vec<Awaited>,
        count: u64,
    },
    /// The array already has as many active jobs as its limit allows.
    Turn {
        array: JobId,
        at_once: u32,
    },
    QueuePaused {
        queue: QueueName,
        since: Timestamp,
    },
    /// The queue already has as many held jobs as its limit allows.
    QueueFull {
        queue: QueueName,
        concurrency: u32,
        running: u64,
    },
    /// No worker that serves its queue is online. `away` counts those that served it before.
    NoWorker {
        queue: QueueName,
        away: u64,
    },
    /// Workers are online, but none of them can take it.
    NoMatch {
        queue: QueueName,
        workers: Vec<Mismatch>,
    },
    /// All workers that can take it have no free slot.
    Busy {
        workers: u64,
        slots: u64,
    },
    /// The number of jobs in its queue that go first.
    Ahead {
        queue: QueueName,
        jobs: u64,
    },
    /// Nothing delays it.
    Next,
    Held {
        worker: WorkerName,
        attempt: AttemptNo,
        since: Timestamp,
        running: Option<Timestamp>,
    },
    Ended {
        at: Timestamp,
        outcome: Outcome,
    },
}

/// A job that another one waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Awaited {
    pub job: JobId,
    pub status: JobStatus,
    pub needs: Condition,
}

/// A worker, and why it cannot take a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mismatch {
    pub worker: WorkerName,
    /// Never empty.
    pub lacks: Vec<Lack>,
}

/// One thing that keeps a worker from a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lack {
    pub what: LackOf,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LackOf {
    /// A label that the job requires.
    Label,
    /// The job asks for more than the worker's operator allows.
    Limit,
    /// Another worker already has the job's image.
    Image,
    /// An operator is draining it.
    Draining,
    /// It starts no jobs at the moment: its disk is full, or its engine is unavailable.
    Unwell,
}

impl Cause {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::QueuePaused { queue, .. } => format!("`orchestra queues resume {queue}`"),
            Self::QueueFull { queue, .. } => {
                format!("`orchestra queues limit {queue} N` lets more of them run at once")
            }
            Self::NoWorker { .. } => "start a worker with `orchestra worker`, or see \
                `orchestra workers` for those that were there"
                .to_owned(),
            Self::NoMatch { .. } => {
                "`orchestra workers` shows the labels and limits of each; a worker gets them with \
                 ORCHESTRA_LABELS and ORCHESTRA_MAX_*, and takes jobs again after `orchestra drain \
                 --undo`"
                    .to_owned()
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBefore { at } => write!(f, "it is not to begin before {at}"),
            Self::Retry { at, after, reason } => {
                write!(f, "attempt {after} ended ({reason}), and the next one waits until {at}")
            }
            Self::After { jobs, count } => {
                let wish = |it: &Awaited| match it.needs {
                    Condition::AfterOk => "complete",
                    Condition::AfterAny => "end",
                    Condition::AfterFailed => "fail",
                };
                f.write_str("it waits for ")?;
                for (index, it) in jobs.iter().enumerate() {
                    let before = if index == 0 { "" } else { ", " };
                    write!(f, "{before}job {} ({}) to {}", it.job, it.status, wish(it))?;
                }
                match count.saturating_sub(jobs.len() as u64) {
                    0 => Ok(()),
                    more => write!(f, " and for {more} more"),
                }
            }
            Self::Turn { array, at_once } => {
                write!(
                    f,
                    "{at_once} jobs of array {array} are under way, as many as may be at once"
                )
            }
            Self::QueuePaused { queue, since } => {
                write!(f, "queue {queue} has been paused since {since}")
            }
            Self::QueueFull { queue, concurrency, running } => write!(
                f,
                "queue {queue} runs {running} jobs, and no more than {concurrency} may run at once"
            ),
            Self::NoWorker { queue, away: 0 } => write!(f, "no worker serves queue {queue}"),
            Self::NoWorker { queue, away } => {
                write!(f, "no worker of queue {queue} is online ({away} away)")
            }
            Self::NoMatch { queue, workers } => {
                write!(f, "no worker of queue {queue} can take it")?;
                for (index, Mismatch { worker, lacks }) in workers.iter().enumerate() {
                    let lacks: Vec<&str> = lacks.iter().map(|lack| lack.text.as_str()).collect();
                    let before = if index == 0 { ":" } else { ";" };
                    write!(f, "{before} {worker} {}", lacks.join(" and "))?;
                }
                Ok(())
            }
            Self::Busy { workers: 1, slots } => {
                write!(f, "the worker that can take it has all {slots} slots in use")
            }
            Self::Busy { workers, slots } => {
                write!(f, "all {slots} slots of the {workers} workers that can take it are in use")
            }
            Self::Ahead { queue, jobs: 1 } => write!(f, "1 job of queue {queue} goes first"),
            Self::Ahead { queue, jobs } => write!(f, "{jobs} jobs of queue {queue} go first"),
            Self::Next => f.write_str("it is next: a worker takes it at any moment"),
            Self::Held { worker, since, running: None, .. } => {
                write!(f, "worker {worker} has held it since {since} and prepares its container")
            }
            Self::Held { worker, since, running: Some(begun), .. } => {
                write!(f, "worker {worker} has held it since {since} and run it since {begun}")
            }
            Self::Ended { at, outcome } => write!(f, "it ended at {at}: {outcome}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_its_code_beside_its_words() {
        let queue: QueueName = "slow".parse().unwrap();
        let reason = Reason::from(Cause::QueueFull { queue, concurrency: 2, running: 2 });
        assert_eq!(
            serde_json::to_value(&reason).unwrap(),
            serde_json::json!({
                "code": "queueFull", "queue": "slow", "concurrency": 2, "running": 2,
                "text": "queue slow runs 2 jobs, and no more than 2 may run at once",
                "hint": "`orchestra queues limit slow N` lets more of them run at once",
            })
        );
        let text = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<Reason>(&text).unwrap(), reason);
    }

    #[test]
    fn a_warning_names_the_folders_and_what_to_do() {
        let warning = Warning::shared_folder("q", &["a", "b", "c", "d", "e", "f", "g"]);
        assert!(warning.text.contains("have 7 (a, b, c, d, e and 2 more)"), "{}", warning.text);
        assert!(warning.hint.contains("`--require files=NAME`"), "{}", warning.hint);
        assert!(Warning::shared_folder("q", &["a", "b"]).text.contains("have 2 (a, b):"));
    }

    #[test]
    fn what_each_worker_lacks_is_said() {
        let lack = |text: &str| Lack { what: LackOf::Label, text: text.to_owned() };
        let worker = |name: &str, lacks| Mismatch { worker: name.parse().unwrap(), lacks };
        let workers = vec![
            worker("a", vec![lack("lacks the label gpu=yes"), lack("is being drained")]),
            worker("b", vec![lack("lacks the label gpu=yes")]),
        ];
        let cause = Cause::NoMatch { queue: "q".parse().unwrap(), workers };
        assert_eq!(
            cause.to_string(),
            "no worker of queue q can take it: a lacks the label gpu=yes and is being drained; b \
             lacks the label gpu=yes"
        );
    }
}

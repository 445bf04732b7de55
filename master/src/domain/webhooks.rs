//! Which job ends a webhook reports, and how a delivery continues after a receiver's answer.

use std::{collections::BTreeMap, time::Duration};

use orchestra_contracts::{JobStatus, QueueName, Span};

use super::Job;

/// The filter of a webhook: which jobs, and which of their ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndFilter {
    pub on: Vec<JobStatus>,
    /// `None` matches any queue.
    pub queue: Option<QueueName>,
    /// The job has all of these labels.
    pub labels: BTreeMap<String, String>,
}

impl EndFilter {
    /// Whether this job's end is reported. Always false for a job that has not ended.
    pub fn takes(&self, job: &Job) -> bool {
        let status = job.status();
        let has = |(key, value): (&String, &String)| job.spec.labels.get(key) == Some(value);
        status.is_final()
            && self.on.contains(&status)
            && self.queue.as_ref().is_none_or(|queue| queue.as_str() == job.spec.queue)
            && self.labels.iter().all(has)
    }
}

/// The result of one delivery attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The receiver answered with this status code.
    Status(u16),
    /// There was no answer, for this reason.
    None(String),
    /// It cannot be sent, now or later, for this reason.
    Never(String),
}

/// What to do with a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Done,
    /// Try again after this time.
    Wait(Span),
    GiveUp,
}

/// Maximum number of delivery attempts. The last is some eight hours after the first, so that a
/// receiver that is down for a night misses nothing.
pub const TRIES: u32 = 20;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// HTTP 410: the receiver wants no more messages.
const GONE: u16 = 410;

impl Answer {
    /// The next step after `tries` attempts. Waits double from one second up to an hour. The jitter
    /// (0.0 to 1.0) scales half of each wait, so that messages that failed together are not retried
    /// together.
    pub fn next(&self, tries: u32, jitter: f64) -> Next {
        match self {
            Self::Status(200..=299) => Next::Done,
            Self::Status(GONE) | Self::Never(_) => Next::GiveUp,
            _ if tries >= TRIES => Next::GiveUp,
            _ => Next::Wait(wait(tries, jitter)),
        }
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(*status),
            Self::None(_) | Self::Never(_) => None,
        }
    }

    /// Why the attempt did not succeed, in one line.
    pub fn error(&self) -> Option<String> {
        match self {
            Self::Status(200..=299) => None,
            Self::Status(GONE) => Some("it answered with 410: it wants no more".to_owned()),
            Self::Status(status @ 300..=399) => {
                Some(format!("it answered with {status}; redirects are not followed"))
            }
            Self::Status(status) => Some(format!("it answered with {status}")),
            Self::None(reason) | Self::Never(reason) => Some(reason.clone()),
        }
    }
}

fn wait(tries: u32, jitter: f64) -> Span {
    let factor = 2_u32.checked_pow(tries.saturating_sub(1)).unwrap_or(u32::MAX);
    let longest = FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT);
    let half = longest / 2;
    Span(half + half.mul_f64(jitter.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use orchestra_contracts::{JobId, JobSpec, Outcome, every_end};

    use super::*;
    use crate::domain::{Finish, JobState};

    fn ended(outcome: Outcome) -> Job {
        let mut spec = JobSpec::new("true");
        spec.labels = [("team".to_owned(), "core".to_owned())].into();
        let mut job = Job::new(JobId(1), spec, Timestamp::UNIX_EPOCH);
        let (worker, usage, started_at, tail) = (None, None, None, None);
        let finished_at = Timestamp::UNIX_EPOCH;
        job.state = JobState::Finished {
            finish: Finish { worker, outcome, usage, started_at, finished_at, tail },
        };
        job
    }

    fn all() -> EndFilter {
        EndFilter { on: every_end(), queue: None, labels: BTreeMap::new() }
    }

    #[test]
    fn a_webhook_is_told_what_it_asked_for() {
        let job = ended(Outcome::Cancelled);
        let only = |status| EndFilter { on: vec![status], ..all() };
        let queue = |name: &str| EndFilter { queue: Some(name.parse().unwrap()), ..all() };
        let label = |key: &str, value: &str| {
            let labels = [(key.to_owned(), value.to_owned())].into();
            EndFilter { labels, ..all() }
        };
        for filter in [all(), only(JobStatus::Cancelled), queue("default"), label("team", "core")] {
            assert!(filter.takes(&job), "{filter:?}");
        }
        for filter in [
            only(JobStatus::Completed),
            only(JobStatus::Failed),
            queue("other"),
            label("team", "edge"),
            label("core", "team"),
        ] {
            assert!(!filter.takes(&job), "{filter:?}");
        }
        let waiting = Job::new(JobId(1), JobSpec::new("true"), Timestamp::UNIX_EPOCH);
        assert!(!all().takes(&waiting));
    }

    #[test]
    fn waits_double_up_to_an_hour() {
        let seconds = |tries| wait(tries, 1.0).0.as_secs();
        assert_eq!([1, 2, 3, 4, 12, 13, 99].map(seconds), [1, 2, 4, 8, 2048, 3600, 3600]);
        assert_eq!(wait(3, 0.0).0, Duration::from_secs(2));
        assert_eq!(wait(3, 0.5).0, Duration::from_secs(3));
        let all: Duration = (1..TRIES).map(|tries| wait(tries, 1.0).0).sum();
        assert_eq!(all.as_secs() / 3600, 8, "hours from the first try to the last");
    }

    #[test]
    fn what_follows_from_an_answer() {
        let next = |answer: &Answer, tries| answer.next(tries, 1.0);
        let again = Next::Wait(Span::from_secs(1));
        for (answer, due) in [
            (Answer::Status(200), Next::Done),
            (Answer::Status(204), Next::Done),
            (Answer::Status(302), again),
            (Answer::Status(404), again),
            (Answer::Status(410), Next::GiveUp),
            (Answer::Status(500), again),
            (Answer::None("it did not answer".to_owned()), again),
            (Answer::Never("no key".to_owned()), Next::GiveUp),
        ] {
            assert_eq!(next(&answer, 1), due, "{answer:?}");
            assert_eq!(answer.error().is_none(), due == Next::Done, "{answer:?}");
        }
        assert_eq!(next(&Answer::Status(500), TRIES), Next::GiveUp);
        assert_eq!(next(&Answer::Status(200), TRIES), Next::Done, "the last one counts");
    }
}

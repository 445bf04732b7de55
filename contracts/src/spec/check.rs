//! Validation of a spec, and the error messages for it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Condition, JobSpec, files};
use crate::{FieldError, ImageReference, Size, Span};

/// The limits of a spec, checked by [`JobSpec::validate`].
pub mod limits {
    use crate::Span;

    /// One argument of `execve` holds 131,071 bytes (`MAX_ARG_STRLEN`, execve(2)). Half of that
    /// leaves headroom and is still a long script.
    pub const COMMAND_BYTES: usize = 64 * 1024;
    pub const MAX_RETRIES: u32 = 100;
    pub const STDIN_BYTES: usize = 1024 * 1024;
    pub const ENV_ENTRIES: usize = 256;
    pub const ENV_VALUE_BYTES: usize = 32 * 1024;
    pub const ENV_BYTES: usize = 128 * 1024;
    pub const SECRETS: usize = 64;
    /// Shorter values cannot be told apart from ordinary words in a log. Surrounding whitespace
    /// does not count.
    pub const SECRET_BYTES_MIN: usize = 8;
    pub const SECRET_BYTES: usize = 32 * 1024;
    /// The output is searched for some twenty forms of every value.
    pub const SECRETS_BYTES: usize = 64 * 1024;
    /// The most jobs that one job may wait for; each job of an array counts.
    pub const AFTER: usize = 1024;
    /// The most jobs in an array, and in one submission in total.
    pub const JOBS: usize = 10_000;
    pub const ARRAY_INDEX: u32 = 1_000_000;
    /// The most dependencies of all jobs in one submission together.
    pub const AFTER_TOGETHER: usize = 100_000;
    pub const FILES: usize = 100;
    pub const FILES_BYTES: usize = 1024 * 1024;
    pub const ARTIFACT_PATTERNS: usize = 32;
    /// The most files that are kept of an attempt.
    pub const ARTIFACTS: usize = 1000;
    /// The most changed files that are listed.
    pub const CHANGES: usize = 1000;
    pub const LABELS: usize = 32;
    pub const NAME_CHARS: usize = 128;
    /// The longest delay of a job: a year of 365.25 days.
    pub const DELAY: Span = Span::from_secs(31_557_600);
    pub const PRIORITY: std::ops::RangeInclusive<i32> = -1000..=1000;
    pub const PIDS: std::ops::RangeInclusive<u32> = 4..=65_536;
    /// The engine refuses less than 6 MiB, and a shell that runs a compiler needs more.
    pub const MEMORY_MIN: u64 = 16 << 20;
    pub const TMP_MIN: u64 = 1 << 20;
    /// Less would show neither the beginning nor the end of a run.
    pub const MAX_LOG_MIN: u64 = 4 << 10;
    pub const CPUS_MIN: f64 = 0.01;
    pub const CPUS_MAX: f64 = 1024.0;
    /// The most images that a worker may list. Images beyond that count as absent.
    pub const OFFER_IMAGES: usize = 1024;
    /// The length limit of each text in an offer.
    pub const OFFER_TEXT_BYTES: usize = 256;
}

impl JobSpec {
    /// Returns every error in the spec, each with the JSON pointer (RFC 6901) of its field. The
    /// list is empty if the spec is valid.
    pub fn validate(&self) -> Vec<FieldError> {
        let mut checks = Checks::default();
        self.check_command(&mut checks);
        self.check_env(&mut checks);
        self.check_secrets(&mut checks);
        self.check_names(&mut checks);
        self.check_start(&mut checks);
        self.check_others(&mut checks);
        files::check_files(&self.files, &mut checks);
        files::check_artifacts(&self.artifacts, &mut checks);
        self.check_limits(&mut checks);
        checks.into_errors()
    }

    fn check_command(&self, checks: &mut Checks) {
        let command = &self.command;
        checks.refuse_if(command.trim().is_empty(), "/command", "is empty; give it a bash command");
        checks.refuse_if(
            command.contains('\0'),
            "/command",
            "contains a NUL character, which no shell can read",
        );
        checks.refuse_if(
            command.len() > limits::COMMAND_BYTES,
            "/command",
            format!(
                "has {} bytes, at most {} are allowed; put a long script into worker-files",
                command.len(),
                limits::COMMAND_BYTES
            ),
        );
        checks.refuse_if(
            self.max_retries > limits::MAX_RETRIES,
            "/maxRetries",
            format!("is more than {}", limits::MAX_RETRIES),
        );
        checks.refuse_if(
            self.stdin.as_ref().is_some_and(|text| text.len() > limits::STDIN_BYTES),
            "/stdin",
            format!(
                "has more than {} bytes; put large input into worker-files",
                limits::STDIN_BYTES
            ),
        );
    }

    fn check_names(&self, checks: &mut Checks) {
        if let Some(name) = &self.name {
            checks.refuse_if(
                name.is_empty()
                    || name.chars().count() > limits::NAME_CHARS
                    || name.chars().any(char::is_control),
                "/name",
                format!("is not 1 to {} printable characters", limits::NAME_CHARS),
            );
        }
        if let Some(image) = &self.image {
            checks.refuse_if(
                !is_image_name(image) && image.parse::<ImageReference>().is_err(),
                "/image",
                "is neither the name of a folder under images/ (lower-case letters, digits, '-' and '_', at most 64) nor a reference like docker.io/library/python:3.12",
            );
        }
        checks.refuse_if(
            !is_label_word(&self.queue),
            "/queue",
            "is not a queue name: 1 to 63 letters, digits, '.', '_' or '-'",
        );
        checks.labels(&self.labels, "/labels");
        checks.labels(&self.requires, "/requires");
    }

    /// Only the master, which has the clock, can tell whether `notBefore` is too far ahead.
    fn check_start(&self, checks: &mut Checks) {
        checks.refuse_if(
            self.delay.is_some() && self.not_before.is_some(),
            "/delay",
            "stands beside notBefore, which says the same; leave one of them out",
        );
        checks.refuse_if(
            self.delay.is_some_and(|delay| delay > limits::DELAY),
            "/delay",
            format!("is longer than {}", limits::DELAY),
        );
    }

    /// Only the master can tell whether the jobs that this one waits for exist.
    fn check_others(&self, checks: &mut Checks) {
        let mut seen = BTreeSet::new();
        for condition in Condition::ALL {
            let field = condition.field();
            for (place, job) in self.after_with(condition).iter().enumerate() {
                checks.refuse_if(
                    !seen.insert(job),
                    &format!("/{field}/{place}"),
                    format!("says {job} again; once is enough"),
                );
            }
            checks.refuse_if(
                self.after_with(condition).len() > limits::AFTER,
                &format!("/{field}"),
                format!("has more than {} entries", limits::AFTER),
            );
        }
        checks.refuse_if(
            self.array.as_ref().is_some_and(|array| array.count() > limits::JOBS as u64),
            "/array",
            format!("stands for more than {} jobs", limits::JOBS),
        );
    }

    fn check_limits(&self, checks: &mut Checks) {
        checks.refuse_if(
            !limits::PRIORITY.contains(&self.priority),
            "/priority",
            format!("is not between {} and {}", limits::PRIORITY.start(), limits::PRIORITY.end()),
        );
        checks.refuse_if(
            self.timeout.is_some_and(|timeout| timeout < Span::from_secs(1)),
            "/timeout",
            "is less than a second; leave it out for the default",
        );
        checks.refuse_if(
            self.retry.on.as_ref().is_some_and(Vec::is_empty),
            "/retry/on",
            "is empty; for no retries at all leave out maxRetries",
        );
        checks.refuse_if(
            self.max_log.is_some_and(|size| size.0 < limits::MAX_LOG_MIN),
            "/maxLog",
            format!("is less than {}", Size(limits::MAX_LOG_MIN)),
        );
        let wanted = &self.resources;
        checks.refuse_if(
            wanted.cpus.is_some_and(|cpus| !(limits::CPUS_MIN..=limits::CPUS_MAX).contains(&cpus)),
            "/resources/cpus",
            format!("is not between {} and {}", limits::CPUS_MIN, limits::CPUS_MAX),
        );
        checks.refuse_if(
            wanted.memory.is_some_and(|memory| memory.0 < limits::MEMORY_MIN),
            "/resources/memory",
            format!("is less than {}", Size(limits::MEMORY_MIN)),
        );
        checks.refuse_if(
            wanted.pids.is_some_and(|pids| !limits::PIDS.contains(&pids)),
            "/resources/pids",
            format!("is not between {} and {}", limits::PIDS.start(), limits::PIDS.end()),
        );
        checks.refuse_if(
            wanted.tmp.is_some_and(|tmp| tmp.0 < limits::TMP_MIN),
            "/resources/tmp",
            format!("is less than {}", Size(limits::TMP_MIN)),
        );
    }
}

#[derive(Default)]
pub(crate) struct Checks(Vec<FieldError>);

impl Checks {
    pub(crate) fn into_errors(self) -> Vec<FieldError> {
        self.0
    }

    pub(crate) fn refuse_if(&mut self, wrong: bool, pointer: &str, detail: impl Into<String>) {
        if wrong {
            self.0.push(FieldError { pointer: pointer.to_owned(), detail: detail.into() });
        }
    }

    fn labels(&mut self, labels: &BTreeMap<String, String>, pointer: &str) {
        self.refuse_if(
            labels.len() > limits::LABELS,
            pointer,
            format!("has more than {} entries", limits::LABELS),
        );
        for (key, value) in labels {
            self.refuse_if(
                !is_label_word(key) || !(value.is_empty() || is_label_word(value)),
                &format!("{pointer}/{}", escape_pointer(key)),
                "is not a label: key and value are up to 63 letters, digits, '.', '_' or '-'",
            );
        }
    }
}

/// Validates labels of any owner; error pointers start with `pointer`.
pub fn check_labels(labels: &BTreeMap<String, String>, pointer: &str) -> Vec<FieldError> {
    let mut checks = Checks::default();
    checks.labels(labels, pointer);
    checks.into_errors()
}

/// RFC 6901, section 3: `~` and `/` are escaped within a reference token.
pub(super) fn escape_pointer(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

pub(crate) fn is_image_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
}

pub(crate) fn is_label_word(word: &str) -> bool {
    (1..=63).contains(&word.len())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobId, JobRef};

    fn pointers(change: impl FnOnce(&mut JobSpec)) -> Vec<String> {
        let mut spec = JobSpec::new("true");
        change(&mut spec);
        spec.validate().into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn every_refusal_points_at_its_field() {
        let long = "x".repeat(limits::COMMAND_BYTES + 1);
        assert_eq!(pointers(|s| s.command = "  \n".into()), ["/command"]);
        assert_eq!(pointers(|s| s.command = "a\0b".into()), ["/command"]);
        assert_eq!(pointers(|s| s.command = long), ["/command"]);
        assert_eq!(pointers(|s| s.max_retries = 101), ["/maxRetries"]);
        assert_eq!(pointers(|s| s.timeout = Some(Span::from_secs(0))), ["/timeout"]);
        assert_eq!(pointers(|s| s.image = Some("../etc".into())), ["/image"]);
        assert_eq!(pointers(|s| s.queue = String::new()), ["/queue"]);
        assert_eq!(pointers(|s| s.priority = 1001), ["/priority"]);
        let longest = limits::DELAY.0;
        assert_eq!(pointers(|s| s.delay = Some(Span(longest))), [""; 0]);
        let longer = longest + std::time::Duration::from_millis(1);
        assert_eq!(pointers(|s| s.delay = Some(Span(longer))), ["/delay"]);
        let both = |s: &mut JobSpec| {
            (s.delay, s.not_before) = (Some(Span::from_secs(1)), Some(jiff::Timestamp::UNIX_EPOCH));
        };
        assert_eq!(pointers(both), ["/delay"]);
        let job = |id| JobRef::Id(JobId(id));
        let twice = |s: &mut JobSpec| (s.after, s.after_any) = (vec![job(1), job(2)], vec![job(2)]);
        assert_eq!(pointers(twice), ["/afterAny/0"]);
        assert_eq!(pointers(|s| s.after_failed = (1..=1025).map(job).collect()), ["/afterFailed"]);
        assert_eq!(pointers(|s| s.array = "0-9999".parse().ok()), [""; 0]);
        assert_eq!(pointers(|s| s.array = "0-10000".parse().ok()), ["/array"]);
        assert_eq!(pointers(|s| s.resources.cpus = Some(f64::NAN)), ["/resources/cpus"]);
        assert_eq!(pointers(|s| s.resources.memory = Some(Size(1))), ["/resources/memory"]);
        assert_eq!(pointers(|s| s.resources.pids = Some(1)), ["/resources/pids"]);
        assert_eq!(pointers(|s| s.resources.tmp = Some(Size(1))), ["/resources/tmp"]);
        assert_eq!(pointers(|s| s.max_log = Some(Size(4095))), ["/maxLog"]);
        assert_eq!(pointers(|s| s.artifacts = vec!["../*".into()]), ["/artifacts/0"]);
        assert_eq!(pointers(|s| s.artifacts = vec!["*".into(); 33]), ["/artifacts"]);
        assert_eq!(pointers(|s| s.retry.on = Some(vec![])), ["/retry/on"]);
        let wrong = || [("a b".into(), "x".into())].into();
        assert_eq!(pointers(|s| s.labels = wrong()), ["/labels/a b"]);
        assert_eq!(pointers(|s| s.requires = wrong()), ["/requires/a b"]);
        let many = |count: usize| (0..count).map(|n| (format!("l{n}"), String::new())).collect();
        assert_eq!(pointers(|s| s.requires = many(33)), ["/requires"]);
        assert_eq!(pointers(|s| s.requires = many(32)), [""; 0]);
    }
}

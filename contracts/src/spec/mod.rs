//! The job specification that people submit.

mod after;
mod array;
pub(crate) mod check;
mod demand;
mod files;
mod variables;

use std::{collections::BTreeMap, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Outcome, Secret, Size, Span, object, secret};

pub use after::{Condition, JobRef};
pub use array::{Array, NotAnArray};
pub use check::{check_labels, limits};
pub use demand::Demand;
pub use files::JobFile;

/// A job as it is submitted: `{"command": "echo hi"}` is enough.
///
/// Unknown fields are refused, so that a misspelt limit is never silently ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobSpec {
    /// A script for bash, or for sh if the image has no bash.
    pub command: String,
    /// How many times a failed command is retried.
    #[serde(default)]
    pub max_retries: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of a folder under `images/`; the worker's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Environment variables whose values only the command sees. Responses show `***` in their
    /// place, and logs mask the values and their common encodings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "secret::all")]
    pub secrets: BTreeMap<String, Secret>,
    /// How long one attempt may run. The master fills in its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How long the job stays with a worker that has gone silent, if the master's default lease is
    /// too short for this job. A longer lease survives longer outages, but a dead worker is noticed
    /// later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
    #[serde(default, deserialize_with = "object::only", skip_serializing_if = "is_default")]
    pub retry: Retry,
    /// Higher values go first; equal ones in order of arrival.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    #[serde(default = "default_queue")]
    pub queue: String,
    /// The first attempt is not claimed before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The same as a duration from the submission. The master turns it into `notBefore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Jobs that must have completed before this one starts. If one of them ends otherwise, this
    /// job is cancelled.
    #[serde(default, alias = "afterOk", skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<JobRef>,
    /// Jobs that must have ended, in any way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_any: Vec<JobRef>,
    /// Jobs that must have failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_failed: Vec<JobRef>,
    /// Makes this spec stand for many jobs, which differ only in their index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<Array>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Labels that the worker must have, each with this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requires: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "object::only", skip_serializing_if = "is_default")]
    pub resources: Resources,
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Network,
    #[serde(default, skip_serializing_if = "is_default")]
    pub workspace: Workspace,
    /// How much of an attempt's log is kept, as a head and a tail. It cannot exceed the worker's
    /// own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_log: Option<Size>,
    /// Text for the command's standard input, which is empty without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Files that are written to the working folder before the command starts.
    #[serde(default, deserialize_with = "object::each", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<JobFile>,
    /// Patterns of paths relative to the working folder. Matching files are kept when the job has
    /// ended, in any way. `*` and `?` match characters of one name, `**` matches any folders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
}

/// How and when a failed attempt is retried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// The longest wait before the first retry; it doubles with each. The master's default if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Span>,
    /// Whether the job is retried after an attempt that may have started and that Orchestra broke:
    /// its worker was lost, or shut down. `false` is for a command that must not run twice.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub on_lost: bool,
    /// Which failures of the command `maxRetries` pays for; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Vec<RetryOn>>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { backoff: None, on_lost: true, on: None }
    }
}

impl Retry {
    /// Whether the policy allows a retry after this outcome.
    pub fn covers(&self, outcome: &Outcome) -> bool {
        let kind = match outcome {
            Outcome::Exited { .. } => RetryOn::Exited,
            Outcome::Signalled { .. } => RetryOn::Signalled,
            Outcome::TimedOut => RetryOn::TimedOut,
            Outcome::OutOfMemory => RetryOn::OutOfMemory,
            _ => return true,
        };
        self.on.as_ref().is_none_or(|on| on.contains(&kind))
    }
}

/// A way in which a command fails, named like its [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryOn {
    Exited,
    Signalled,
    TimedOut,
    OutOfMemory,
}

impl RetryOn {
    pub const ALL: [Self; 4] = [Self::Exited, Self::Signalled, Self::TimedOut, Self::OutOfMemory];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signalled => "signalled",
            Self::TimedOut => "timedOut",
            Self::OutOfMemory => "outOfMemory",
        }
    }
}

impl FromStr for RetryOn {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|it| it.as_str() == text);
        known.ok_or("a command fails as exited, signalled, timedOut or outOfMemory")
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// Limits of one container; absent ones take the worker's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Processor cores; fractions are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// Processes and threads together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Size of `/tmp`, which is kept in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmp: Option<Size>,
}

/// What a container may reach over the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Only its own loopback.
    #[default]
    None,
    /// The engine's bridge, if the worker's operator allows it.
    Bridge,
}

/// The folder in which the command starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workspace {
    /// The folder `worker-files`, which all jobs of a worker share.
    #[default]
    Shared,
    /// An empty folder of its own. Every attempt gets a new one, which is deleted with its
    /// container.
    Private,
}

fn default_queue() -> String {
    "default".to_owned()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl JobSpec {
    /// A spec with only a command.
    pub fn new(command: impl Into<String>) -> Self {
        Self {
            command: command.into(),
            max_retries: 0,
            name: None,
            image: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            timeout: None,
            lease: None,
            retry: Retry::default(),
            priority: 0,
            queue: default_queue(),
            not_before: None,
            delay: None,
            after: Vec::new(),
            after_any: Vec::new(),
            after_failed: Vec::new(),
            array: None,
            labels: BTreeMap::new(),
            requires: BTreeMap::new(),
            resources: Resources::default(),
            network: Network::None,
            workspace: Workspace::Shared,
            max_log: None,
            stdin: None,
            files: Vec::new(),
            artifacts: Vec::new(),
        }
    }

    /// All jobs that this one waits for, each with its condition.
    pub fn waits_for(&self) -> impl Iterator<Item = (Condition, &JobRef)> {
        Condition::ALL.into_iter().flat_map(move |condition| {
            self.after_with(condition).iter().map(move |job| (condition, job))
        })
    }

    pub fn after_with(&self, condition: Condition) -> &[JobRef] {
        match condition {
            Condition::AfterOk => &self.after,
            Condition::AfterAny => &self.after_any,
            Condition::AfterFailed => &self.after_failed,
        }
    }

    pub fn after_with_mut(&mut self, condition: Condition) -> &mut Vec<JobRef> {
        match condition {
            Condition::AfterOk => &mut self.after,
            Condition::AfterAny => &mut self.after_any,
            Condition::AfterFailed => &mut self.after_failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_enough() {
        let spec: JobSpec = serde_json::from_str(r#"{"command": "true"}"#).unwrap();
        assert_eq!(spec, JobSpec::new("true"));
        assert_eq!(spec.validate(), []);
    }

    #[test]
    fn a_list_is_no_object() {
        let json = r#"{"command": "x", "files": [["a", "text"]]}"#;
        let error = serde_json::from_str::<JobSpec>(json).unwrap_err();
        assert!(error.to_string().contains("expected an object"), "{error}");
        for field in ["retry", "resources"] {
            for list in ["[]", "[1.5]", "[null, true]"] {
                let json = format!("{{\"command\": \"x\", \"{field}\": {list}}}");
                let error = serde_json::from_str::<JobSpec>(&json).unwrap_err();
                assert!(error.to_string().contains("expected an object"), "{json}: {error}");
            }
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error =
            serde_json::from_str::<JobSpec>(r#"{"command": "true", "timeOut": "1s"}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `timeOut`"), "{error}");
    }
}

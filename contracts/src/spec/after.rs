//! Dependencies: which other jobs a job waits for.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{JobId, JobStatus};

/// A reference to another job: its id, or the name of a job in the same submission. The name of an
/// array refers to all of its jobs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum JobRef {
    Id(JobId),
    Name(String),
}

impl JobRef {
    pub fn id(&self) -> Option<JobId> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Name(_) => None,
        }
    }
}

impl fmt::Display for JobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for JobRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = JobRef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a job's id, or the name of a job in the same submission")
            }

            fn visit_i64<E: de::Error>(self, id: i64) -> Result<JobRef, E> {
                if id > 0 {
                    return Ok(JobRef::Id(JobId(id)));
                }
                Err(E::invalid_value(de::Unexpected::Signed(id), &self))
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> Result<JobRef, E> {
                let unexpected = || E::invalid_value(de::Unexpected::Unsigned(id), &self);
                i64::try_from(id).map_err(|_| unexpected()).and_then(|id| self.visit_i64(id))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<JobRef, E> {
                Ok(JobRef::Name(name.to_owned()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// How another job must have ended before its dependent may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// It has completed.
    AfterOk,
    /// It has ended in any way.
    AfterAny,
    /// It has failed. A cancelled job has not failed.
    AfterFailed,
}

impl Condition {
    pub const ALL: [Self; 3] = [Self::AfterOk, Self::AfterAny, Self::AfterFailed];

    /// The spec's field, as it is written; `afterOk` is an alias of `after`.
    pub fn field(self) -> &'static str {
        match self {
            Self::AfterOk => "after",
            _ => self.as_str(),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::AfterOk => "afterOk",
            Self::AfterAny => "afterAny",
            Self::AfterFailed => "afterFailed",
        }
    }

    /// Whether a job that ended like this satisfies the condition. If not, its dependents can never
    /// start.
    pub fn is_met_by(self, ended: JobStatus) -> bool {
        match self {
            Self::AfterOk => ended == JobStatus::Completed,
            Self::AfterAny => true,
            Self::AfterFailed => ended == JobStatus::Failed,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_its_id_or_its_name() {
        let read = |json: &str| serde_json::from_str::<JobRef>(json);
        assert_eq!(read("12").unwrap(), JobRef::Id(JobId(12)));
        assert_eq!(read("\"build\"").unwrap(), JobRef::Name("build".into()));
        for json in ["0", "-1", "1.5", "18446744073709551615", "null", "[1]", "true"] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains("a job's id, or the name"), "{json}: {error}");
        }
        assert_eq!(
            serde_json::to_string(&[JobRef::Id(JobId(1)), JobRef::Name("x".into())]).unwrap(),
            "[1,\"x\"]"
        );
    }

    #[test]
    fn each_end_meets_what_it_should() {
        use JobStatus::{Cancelled, Completed, Failed};
        let met = |condition: Condition| {
            [Completed, Failed, Cancelled].map(|end| condition.is_met_by(end))
        };
        assert_eq!(met(Condition::AfterOk), [true, false, false]);
        assert_eq!(met(Condition::AfterAny), [true, true, true]);
        assert_eq!(met(Condition::AfterFailed), [false, true, false]);
    }
}

//! How people name a job: by id, as `@latest`, or by the beginning of its name.

use std::{convert::Infallible, str::FromStr};

use orchestra_client::{Client, JobQuery, ListOrder};
use orchestra_contracts::{Job, JobId};

use crate::failure::Failure;

/// How many jobs are looked through for a name, newest first.
const LOOKED_THROUGH: u32 = 500;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobRef {
    Id(JobId),
    Latest,
    /// A name, or the beginning of one.
    Name(String),
}

impl FromStr for JobRef {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            Ok(id) => Self::Id(id),
            Err(_) if text == "@latest" => Self::Latest,
            Err(_) => Self::Name(text.to_owned()),
        })
    }
}

impl JobRef {
    /// The id. An id itself is not looked up: the call that follows says whether it exists.
    pub(crate) async fn resolve(&self, client: &Client) -> Result<JobId, Failure> {
        match self {
            Self::Id(id) => Ok(*id),
            Self::Latest => {
                let newest = newest(client, None, 1).await?;
                let job = newest.first().ok_or_else(|| Failure::said("there are no jobs yet"))?;
                Ok(job.id)
            }
            Self::Name(name) => {
                let jobs = newest(client, Some(name.clone()), LOOKED_THROUGH).await?;
                pick(name, &jobs).map_err(Failure::Said)
            }
        }
    }
}

async fn newest(client: &Client, text: Option<String>, limit: u32) -> Result<Vec<Job>, Failure> {
    let query =
        JobQuery { text, order: ListOrder::Newest, limit: Some(limit), ..JobQuery::default() };
    Ok(client.jobs(&query).await?.jobs)
}

/// The newest job of exactly this name, else that of the only name which begins so.
/// `jobs` come newest first.
fn pick(name: &str, jobs: &[Job]) -> Result<JobId, String> {
    let named = || jobs.iter().filter_map(|job| Some((job.spec.name.as_deref()?, job.id)));
    if let Some((_, id)) = named().find(|(exact, _)| *exact == name) {
        return Ok(id);
    }
    let mut begin = named().filter(|(full, _)| !name.is_empty() && full.starts_with(name));
    let Some((first, id)) = begin.next() else {
        return Err(format!("there is no job {name:?}; `orchestra ls` shows those that there are"));
    };
    match begin.find(|(other, _)| *other != first) {
        None => Ok(id),
        Some((other, _)) => Err(format!(
            "{name:?} may be {first:?} or {other:?}; write more of the name, or use the id"
        )),
    }
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::JobStatus;

    use super::*;
    use crate::exit::tests::job;

    fn jobs(names: &[(i64, &str)]) -> Vec<Job> {
        let named = |&(id, name): &(i64, &str)| {
            let mut job = job(JobStatus::Pending, None);
            job.id = JobId(id);
            job.spec.name = (!name.is_empty()).then(|| name.to_owned());
            job
        };
        names.iter().map(named).collect()
    }

    #[test]
    fn ids_and_latest_are_told_from_names() {
        let read = |text: &str| text.parse::<JobRef>().unwrap();
        assert_eq!(read("12"), JobRef::Id(JobId(12)));
        assert_eq!(read("@latest"), JobRef::Latest);
        for name in ["nightly", "0", "-1", "12a", ""] {
            assert_eq!(read(name), JobRef::Name(name.to_owned()));
        }
    }

    #[test]
    fn a_name_is_found_by_its_beginning() {
        let jobs =
            jobs(&[(5, "nightly"), (4, "nightly-long"), (3, "build"), (2, "build"), (1, "")]);
        assert_eq!(pick("nightly", &jobs), Ok(JobId(5)));
        assert_eq!(pick("nightly-", &jobs), Ok(JobId(4)));
        assert_eq!(pick("b", &jobs), Ok(JobId(3)));
        assert!(pick("night", &jobs).unwrap_err().contains("\"nightly\" or \"nightly-long\""));
        assert!(pick("x", &jobs).unwrap_err().contains("no job \"x\""));
        assert!(pick("", &jobs).is_err());
    }
}

//! Which jobs a verb is for.

use orchestra_client::{Client, JobQuery};
use orchestra_contracts::JobStatus;

use crate::{failure::Failure, jobref::JobRef};

/// How many jobs of an array are asked for at once.
const PAGE: u32 = 1000;

#[derive(Debug, clap::Args)]
pub(crate) struct Jobs {
    /// The jobs: ids, @latest, or the beginnings of their names
    #[arg(required_unless_present = "array", value_name = "ID")]
    jobs: Vec<JobRef>,

    /// All jobs of the array that this job belongs to, if the command applies to them
    #[arg(long, value_name = "ID")]
    array: Option<JobRef>,
}

impl Jobs {
    /// Those that were named, and those of the array for whose status the verb has a meaning.
    pub(crate) async fn chosen(
        self,
        client: &Client,
        statuses: &[JobStatus],
    ) -> Result<Vec<JobRef>, Failure> {
        let Self { mut jobs, array } = self;
        let Some(array) = array else { return Ok(jobs) };
        let one = client.job(array.resolve(client).await?).await?;
        let Some(array) = one.array_id else {
            return Err(Failure::Said(format!("job {} is of no array", one.id)));
        };
        let statuses = statuses.to_vec();
        let mut query =
            JobQuery { statuses, array: Some(array), limit: Some(PAGE), ..JobQuery::default() };
        let named = jobs.len();
        loop {
            let page = client.jobs(&query).await?;
            jobs.extend(page.jobs.iter().map(|job| JobRef::Id(job.id)));
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        if jobs.len() == named {
            return Err(Failure::Said(format!("no job of the array {array} is left for that")));
        }
        Ok(jobs)
    }
}

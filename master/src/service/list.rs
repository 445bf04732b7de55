//! Lists of jobs, in pages or as one stream of any length in constant memory.

use std::sync::Arc;

use futures::{Stream, TryStreamExt, stream};
use orchestra_contracts::{Job, JobId};

use super::{Service, ServiceError, view_job};
use crate::{domain, store::JobFilter};

/// The page size of [`Service::all_jobs`]. A job can have a megabyte of standard input.
const PAGE: u32 = 64;

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub jobs: Vec<Job>,
    /// The last job of the page, if more jobs follow.
    pub next: Option<JobId>,
}

impl Service {
    /// One page: at most `filter.limit` jobs after `filter.after`.
    pub async fn page(&self, filter: &JobFilter) -> Result<Page, ServiceError> {
        let (found, next) = self.found(filter).await?;
        let mut jobs = Vec::with_capacity(found.len());
        for job in found {
            jobs.push(self.show(job).await?);
        }
        Ok(Page { jobs, next })
    }

    /// The same page without the output of running jobs, which costs a read of each log.
    pub async fn glance(&self, filter: &JobFilter) -> Result<Page, ServiceError> {
        let (found, next) = self.found(filter).await?;
        Ok(Page { jobs: found.iter().map(view_job).collect(), next })
    }

    /// At most `filter.limit` jobs, and the last of them if more follow.
    async fn found(
        &self,
        filter: &JobFilter,
    ) -> Result<(Vec<domain::Job>, Option<JobId>), ServiceError> {
        let limit = filter.limit as usize;
        let one_more = JobFilter { limit: filter.limit.saturating_add(1), ..filter.clone() };
        let mut found = self.store.jobs(&one_more).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = if more { found.last().map(|job| job.id) } else { None };
        Ok((found, next))
    }

    /// All jobs, page after page, whatever `filter.limit` is. An error ends the stream.
    pub fn all_jobs(
        self: Arc<Self>,
        filter: JobFilter,
    ) -> impl Stream<Item = Result<Job, ServiceError>> + Send + 'static {
        let first = Some(JobFilter { limit: PAGE, ..filter });
        let pages = stream::try_unfold(first, move |filter| {
            let service = self.clone();
            async move {
                let Some(filter) = filter else { return Ok::<_, ServiceError>(None) };
                let page = service.page(&filter).await?;
                let rest = page.next.map(|last| JobFilter { after: Some(last), ..filter });
                Ok(Some((stream::iter(page.jobs.into_iter().map(Ok)), rest)))
            }
        });
        pages.try_flatten()
    }
}

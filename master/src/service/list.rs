//! Lists of jobs, in pages or as one stream of any length in constant memory.

use std::sync::Arc;

use futures::{Stream, TryStreamExt, stream};
use orchestra_contracts::{Job, JobId};

use super::{Service, ServiceError, view_job};
use crate::{domain, store::JobFilter};

/// Jobs read at once by [`Service::all_jobs`]. A job can hold a megabyte of standard input.
const PAGE: u32 = 64;

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub jobs: Vec<Job>,
    /// The last of them, when there are more after it.
    pub next: Option<JobId>,
}

impl Service {
    /// At most `filter.limit` jobs after `filter.after`.
    pub async fn page(&self, filter: &JobFilter) -> Result<Page, ServiceError> {
        let (found, next) = self.found(filter).await?;
        let mut jobs = Vec::with_capacity(found.len());
        for job in found {
            jobs.push(self.show(job).await?);
        }
        Ok(Page { jobs, next })
    }

    /// The same without the output of those that run, which costs a look into each log.
    pub async fn glance(&self, filter: &JobFilter) -> Result<Page, ServiceError> {
        let (found, next) = self.found(filter).await?;
        Ok(Page { jobs: found.iter().map(view_job).collect(), next })
    }

    /// At most as many as may be, and the last of them where there are more.
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

    /// All of them, page after page; `filter.limit` is not looked at. Errors end it.
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

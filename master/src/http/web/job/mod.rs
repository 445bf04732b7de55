//! `GET /jobs/{id}`: the page of one job. Each section has its own file.

mod attempts;
mod files;
mod head;
mod log;
mod phases;
mod repro;
mod spec;
mod usage;

use std::sync::Arc;

use axum::{extract::State, response::Response};
use maud::html;
use orchestra_contracts::{
    Attempt, Job, JobId, Repro,
    explain::Explanation,
    files::{Artifacts, Changes},
    paths,
};

use super::{layout::Page, text, visitor::Visitor};
use crate::{
    http::{
        error::ApiError,
        extract::{JobPath, NoQuery},
    },
    service::Service,
};

/// The data for all sections.
struct Sheet {
    job: Job,
    attempts: Vec<Attempt>,
    explanation: Explanation,
    repro: Option<Repro>,
    /// Artifacts of the newest attempt that has ended.
    artifacts: Option<Artifacts>,
    changes: Option<Changes>,
}

impl Sheet {
    async fn of(service: &Service, id: JobId) -> Result<Self, ApiError> {
        let job = service.job(id).await?;
        let attempts = service.attempts(id).await?;
        let explanation = service.explain(id).await?;
        let has_run = attempts.iter().any(|attempt| attempt.ran.is_some());
        let repro = if has_run { Some(service.repro(id).await?) } else { None };
        let has_ended = attempts.iter().any(|attempt| attempt.finished_at.is_some());
        let (mut artifacts, mut changes) = (None, None);
        if has_ended {
            // Artifacts and changes are optional: an error here does not fail the page.
            if !job.spec.artifacts.is_empty() {
                artifacts = service.artifacts(id, None).await.ok().map(|(kept, _)| kept);
            }
            changes = service.changes(id, None).await.ok().map(|told| told.changes);
        }
        Ok(Self { job, attempts, explanation, repro, artifacts, changes })
    }

    fn newest(&self) -> Option<&Attempt> {
        self.attempts.last()
    }
}

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    JobPath(id): JobPath,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let sheet = Sheet::of(&service, id).await?;
    let body = html! {
        (head::section(&sheet))
        (phases::section(&sheet))
        (log::section(&sheet))
        (attempts::section(&sheet))
        (files::section(&sheet))
        (usage::section(&sheet))
        (spec::section(&sheet.job))
        (repro::section(&sheet))
    };
    let title = format!("{id} {}", text::called(&sheet.job));
    Ok(Page::new(visitor, paths::JOBS_PAGE, &title).with_script("log.js").show(&body))
}

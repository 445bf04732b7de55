//! `GET /jobs/{id}`: everything of one job. A section is a file; what a job leaves behind
//! besides its log gets one of its own.

mod attempts;
mod head;
mod log;
mod phases;
mod repro;
mod spec;
mod usage;

use std::sync::Arc;

use axum::{extract::State, response::Response};
use maud::html;
use orchestra_contracts::{Attempt, Job, JobId, Repro, explain::Explanation, paths};

use super::{layout::Page, text, visitor::Visitor};
use crate::{
    http::{
        error::ApiError,
        extract::{JobPath, NoQuery},
    },
    service::Service,
};

/// All that its sections tell of.
struct Sheet {
    job: Job,
    attempts: Vec<Attempt>,
    explanation: Explanation,
    repro: Option<Repro>,
}

impl Sheet {
    async fn of(service: &Service, id: JobId) -> Result<Self, ApiError> {
        let job = service.job(id).await?;
        let attempts = service.attempts(id).await?;
        let explanation = service.explain(id).await?;
        let has_run = attempts.iter().any(|attempt| attempt.ran.is_some());
        let repro = if has_run { Some(service.repro(id).await?) } else { None };
        Ok(Self { job, attempts, explanation, repro })
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
        (usage::section(&sheet))
        (spec::section(&sheet.job))
        (repro::section(&sheet))
    };
    let title = format!("{id} {}", text::called(&sheet.job));
    Ok(Page::new(visitor, paths::JOBS_PAGE, &title).with_script("log.js").show(&body))
}

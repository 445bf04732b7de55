//! `POST /api/job/update`

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use futures::future::join_all;
use orchestra_contracts::{
    FieldError, JobId, OneOrMany, ProblemKind,
    worker::{JobUpdate, MAX_UPDATES, Updated},
};

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery, Report},
    },
    service::{Caller, ReportReply, Service},
};

/// The answer to one report is its job, or the jobs that its claim got; to a list, one result each.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: NoQuery,
    Report(updates): Report<OneOrMany<JobUpdate>>,
) -> Result<Response, ApiError> {
    let updates = match updates {
        OneOrMany::One(update) => {
            let id = update.id;
            return Ok(match carry_out(&service, &caller, *update).await? {
                ReportReply::Job(job) => Json(job).into_response(),
                reply @ ReportReply::Next(_) => Json(accepted(id, reply)).into_response(),
            });
        }
        OneOrMany::Many(updates) => updates,
    };
    if !(1..=MAX_UPDATES).contains(&updates.len()) {
        return Err(wrong_count(updates.len()));
    }
    // Concurrently, so that the store can commit the reports together.
    let each = updates.into_iter().map(async |update| {
        let id = update.id;
        carry_out(&service, &caller, update).await.map_or_else(
            |error| Updated { problem: Some(error.into_problem()), ..nothing(id) },
            |reply| accepted(id, reply),
        )
    });
    Ok(Json(join_all(each).await).into_response())
}

async fn carry_out(
    service: &Service,
    caller: &Caller,
    update: JobUpdate,
) -> Result<ReportReply, ApiError> {
    service.may_act_as(caller, &update.assigned_worker)?;
    Ok(service.update(update).await?)
}

fn accepted(id: JobId, reply: ReportReply) -> Updated {
    match reply {
        ReportReply::Job(job) => Updated { job: Some(job), ..nothing(id) },
        ReportReply::Next(next) => Updated { next, ..nothing(id) },
    }
}

fn nothing(id: JobId) -> Updated {
    Updated { id, job: None, problem: None, next: Vec::new() }
}

fn wrong_count(count: usize) -> ApiError {
    let detail = format!("has {count} reports, and not 1 to {MAX_UPDATES}");
    let errors = vec![FieldError { pointer: String::new(), detail }];
    ApiError::new(ProblemKind::Invalid, "one field is not acceptable").errors(errors)
}

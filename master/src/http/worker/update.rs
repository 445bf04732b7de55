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
    service::{Caller, Service, Told},
};

/// One report is answered with its job or with what its claim brought, a list with what became of each.
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
                Told::Job(job) => Json(job).into_response(),
                told @ Told::Next(_) => Json(accepted(id, told)).into_response(),
            });
        }
        OneOrMany::Many(updates) => updates,
    };
    if !(1..=MAX_UPDATES).contains(&updates.len()) {
        return Err(wrong_count(updates.len()));
    }
    // At the same time: the store takes together what waits together.
    let each = updates.into_iter().map(async |update| {
        let id = update.id;
        carry_out(&service, &caller, update).await.map_or_else(
            |error| Updated { problem: Some(error.into_problem()), ..nothing(id) },
            |told| accepted(id, told),
        )
    });
    Ok(Json(join_all(each).await).into_response())
}

async fn carry_out(
    service: &Service,
    caller: &Caller,
    update: JobUpdate,
) -> Result<Told, ApiError> {
    service.may_act_as(caller, &update.assigned_worker)?;
    Ok(service.update(update).await?)
}

fn accepted(id: JobId, told: Told) -> Updated {
    match told {
        Told::Job(job) => Updated { job: Some(job), ..nothing(id) },
        Told::Next(next) => Updated { next, ..nothing(id) },
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

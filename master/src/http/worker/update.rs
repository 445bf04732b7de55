//! `POST /api/job/update`

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use futures::future::join_all;
use orchestra_contracts::{
    FieldError, Job, OneOrMany, ProblemKind,
    worker::{JobUpdate, MAX_UPDATES, Updated},
};

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery, Report},
    },
    service::{Caller, Service},
};

/// One report is answered with its job, a list with what became of each.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: NoQuery,
    Report(updates): Report<OneOrMany<JobUpdate>>,
) -> Result<Response, ApiError> {
    let updates = match updates {
        OneOrMany::One(update) => {
            return Ok(Json(carry_out(&service, &caller, *update).await?).into_response());
        }
        OneOrMany::Many(updates) => updates,
    };
    if !(1..=MAX_UPDATES).contains(&updates.len()) {
        return Err(wrong_count(updates.len()));
    }
    // At the same time: the store takes together what waits together.
    let each = updates.into_iter().map(async |update| {
        let id = update.id;
        match carry_out(&service, &caller, update).await {
            Ok(job) => Updated { id, job: Some(Box::new(job)), problem: None },
            Err(error) => Updated { id, job: None, problem: Some(error.into_problem()) },
        }
    });
    Ok(Json(join_all(each).await).into_response())
}

async fn carry_out(service: &Service, caller: &Caller, update: JobUpdate) -> Result<Job, ApiError> {
    service.may_act_as(caller, &update.assigned_worker)?;
    Ok(service.update(update).await?)
}

fn wrong_count(count: usize) -> ApiError {
    let detail = format!("has {count} reports, and not 1 to {MAX_UPDATES}");
    let errors = vec![FieldError { pointer: String::new(), detail }];
    ApiError::new(ProblemKind::Invalid, "one field is not acceptable").errors(errors)
}

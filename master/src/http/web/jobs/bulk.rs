//! `POST /jobs`: cancels or retries all jobs that were ticked in the list. It works without a
//! script, and calls the same use cases as the API.

use std::sync::Arc;

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use orchestra_contracts::{JobId, paths};

use super::super::{
    layout::Page,
    sign_in::{by_our_form, local},
    text::Line,
    visitor::Visitor,
};
use crate::{
    http::{
        error::ApiError,
        extract::{Form, FromQuery, NoQuery, Pairs},
    },
    service::{Service, ServiceError},
};

/// The maximum number of jobs on a page of the list.
const MOST: usize = 1000;

/// What to do with each job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Cancel,
    Retry,
}

pub(in crate::http::web) struct Bulk {
    verb: Verb,
    jobs: Vec<JobId>,
    /// The address of the list that the form was sent from.
    back: String,
}

impl FromQuery for Bulk {
    const NAMES: &'static [&'static str] = &["verb", "job", "back"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        let verb = match pairs.one("verb")? {
            Some("cancel") => Verb::Cancel,
            Some("retry") => Verb::Retry,
            _ => return Err(ApiError::parameter("verb is neither cancel nor retry")),
        };
        let read = |text: &str| {
            text.parse().map_err(|wrong| ApiError::parameter(format!("job={text:?}: {wrong}")))
        };
        let jobs: Vec<JobId> = pairs.all("job").map(read).collect::<Result<_, _>>()?;
        if jobs.len() > MOST {
            return Err(ApiError::parameter(format!("more than {MOST} jobs are chosen")));
        }
        Ok(Self { verb, jobs, back: local(pairs.one("back")?.unwrap_or(paths::JOBS_PAGE)) })
    }
}

/// Redirects back to the list if it succeeded for all jobs. Otherwise shows why it failed for some.
pub(in crate::http::web) async fn handler(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    headers: HeaderMap,
    _: NoQuery,
    Form(bulk): Form<Bulk>,
) -> Result<Response, ApiError> {
    by_our_form(&headers)?;
    let mut refused = Vec::new();
    for id in &bulk.jobs {
        let done = match bulk.verb {
            Verb::Cancel => service.cancel(*id).await,
            Verb::Retry => service.retry(*id).await,
        };
        match done {
            Ok(_) => {}
            Err(error @ ServiceError::Store(_)) => return Err(error.into()),
            Err(error) => refused.push((*id, error.to_string())),
        }
    }
    if refused.is_empty() && !bulk.jobs.is_empty() {
        return Ok(Redirect::to(&bulk.back).into_response());
    }
    Ok(Page::new(visitor, paths::JOBS_PAGE, "Jobs").show(&said(&bulk, &refused)))
}

fn said(bulk: &Bulk, refused: &[(JobId, String)]) -> Markup {
    let (done, what) = match bulk.verb {
        Verb::Cancel => ("cancelled or being cancelled", "Cancel"),
        Verb::Retry => ("run again", "Run again"),
    };
    html! {
        section.card {
            h1 { (what) }
            @if bulk.jobs.is_empty() { p { "No jobs were selected." } }
            @else {
                p { (bulk.jobs.len() - refused.len()) " of " (bulk.jobs.len()) " jobs are " (done) "." }
                ul.reasons {
                    @for (id, reason) in refused {
                        li { a href=(paths::job_page(*id)) { "Job " (id) } ": " (Line(reason)) }
                    }
                }
            }
            p { a.button.primary href=(bulk.back) { "Back to the list" } }
        }
    }
}

/// The list's buttons for the ticked jobs.
pub(super) fn actions(back: &str) -> Markup {
    html! {
        p.actions.bulk {
            input type="hidden" name="back" value=(back);
            label.choose hidden data-choose-all { input type="checkbox"; " all shown" }
            button name="verb" value="cancel" { "Cancel selected" }
            button name="verb" value="retry" { "Run selected again" }
            span.muted data-chosen role="status" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::ProblemKind;

    use super::*;

    fn read(form: &str) -> Result<(Verb, Vec<i64>, String), ProblemKind> {
        let pairs = Pairs::read(form, Bulk::NAMES).map_err(|error| error.kind())?;
        let bulk = Bulk::from_pairs(&pairs).map_err(|error| error.kind())?;
        Ok((bulk.verb, bulk.jobs.into_iter().map(|id| id.0).collect(), bulk.back))
    }

    #[test]
    fn the_form_is_read_and_leads_nowhere_else() {
        let back = "/jobs?status=Failed".to_owned();
        let form = "verb=cancel&job=3&job=1&back=%2Fjobs%3Fstatus%3DFailed";
        assert_eq!(read(form), Ok((Verb::Cancel, vec![3, 1], back)));
        assert_eq!(read("verb=retry"), Ok((Verb::Retry, vec![], "/jobs".to_owned())));
        let elsewhere = read("verb=retry&back=%2F%2Fevil.example").unwrap();
        assert_eq!(elsewhere.2, "/");
        let many = "&job=1".repeat(1001);
        for wrong in ["", "verb=delete", "verb=cancel&job=x", &format!("verb=cancel{many}")] {
            assert_eq!(read(wrong), Err(ProblemKind::BadParameter), "{wrong:.40}");
        }
    }
}

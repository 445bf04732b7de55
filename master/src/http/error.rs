//! Error responses: `application/problem+json` (RFC 9457).

use std::sync::Arc;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use orchestra_contracts::{
    FieldError, PROBLEM_JSON, Problem, ProblemKind,
    worker::{ArtifactHead, LogHead},
};

use crate::{domain::Refusal, service::ServiceError, store::StoreError};

/// An error response.
#[derive(Debug)]
pub(super) struct ApiError(Box<Parts>);

/// A response extension, for code that renders the problem differently.
#[derive(Clone, Debug)]
pub(super) struct Refused(pub(super) Arc<Problem>);

#[derive(Debug)]
struct Parts {
    problem: Problem,
    header: Option<(HeaderName, HeaderValue)>,
}

impl ApiError {
    pub(super) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let problem = Problem {
            kind,
            title: title(kind).to_owned(),
            status: status(kind).as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            hint: None,
            log: None,
            artifact: None,
        };
        Self(Box::new(Parts { problem, header: None }))
    }

    /// A part of the address or a header is invalid.
    pub(super) fn parameter(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::BadParameter, detail)
    }

    /// The body's media type is not accepted here.
    pub(super) fn not_json(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::UnsupportedMediaType, detail)
            .hint("send JSON in UTF-8, with the header content-type: application/json")
    }

    /// The problem itself, for an answer that reports several.
    pub(super) fn into_problem(self) -> Problem {
        self.0.problem
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.problem.hint = Some(hint.into());
        self
    }

    pub(super) fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.problem.errors = errors;
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    pub(super) fn kind(&self) -> ProblemKind {
        self.0.problem.kind
    }

    fn log(mut self, head: LogHead) -> Self {
        self.0.problem.log = Some(head);
        self
    }

    fn artifact(mut self, head: ArtifactHead) -> Self {
        self.0.problem.artifact = Some(head);
        self
    }
}

fn status(kind: ProblemKind) -> StatusCode {
    match kind {
        ProblemKind::Unreadable | ProblemKind::BadParameter => StatusCode::BAD_REQUEST,
        ProblemKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ProblemKind::Forbidden | ProblemKind::CrossSite => StatusCode::FORBIDDEN,
        ProblemKind::WrongHost => StatusCode::MISDIRECTED_REQUEST,
        ProblemKind::NotFound => StatusCode::NOT_FOUND,
        ProblemKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ProblemKind::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        ProblemKind::IllegalStep
        | ProblemKind::Exists
        | ProblemKind::LeaseLost
        | ProblemKind::LogOffset
        | ProblemKind::LogIncomplete
        | ProblemKind::ArtifactOffset
        | ProblemKind::ArtifactIncomplete => StatusCode::CONFLICT,
        ProblemKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ProblemKind::UriTooLong => StatusCode::URI_TOO_LONG,
        ProblemKind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ProblemKind::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        ProblemKind::Invalid | ProblemKind::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
        ProblemKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ProblemKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn title(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Unreadable => "The body cannot be read",
        ProblemKind::BadParameter => "A parameter cannot be read",
        ProblemKind::Unauthenticated => "A valid token is needed",
        ProblemKind::Forbidden => "The token is not for this",
        ProblemKind::CrossSite => "Pages of other sites are not answered",
        ProblemKind::WrongHost => "This master is not known by that name",
        ProblemKind::NotFound => "There is no such thing",
        ProblemKind::MethodNotAllowed => "This address does not know this method",
        ProblemKind::RequestTimeout => "The body did not arrive in time",
        ProblemKind::IllegalStep => "The job is not in a state in which this can be done",
        ProblemKind::LeaseLost => "Another attempt, or nobody, holds the job now",
        ProblemKind::LogOffset => "The upload does not begin where the stored log ends",
        ProblemKind::LogIncomplete => "The stored log is not complete",
        ProblemKind::ArtifactOffset => "The piece does not begin where the stored file ends",
        ProblemKind::ArtifactIncomplete => "A file is not stored as it is said to be",
        ProblemKind::TooLarge => "This is too large",
        ProblemKind::UriTooLong => "The address is too long",
        ProblemKind::UnsupportedMediaType => "The body is not of the expected type",
        ProblemKind::RangeNotSatisfiable => "What is there is shorter than this range",
        ProblemKind::Invalid => "The request was understood and refused",
        ProblemKind::Exists => "There is one of this name",
        ProblemKind::IdempotencyMismatch => "The idempotency key stands for something else",
        ProblemKind::Unavailable => "The master cannot do this right now",
        ProblemKind::Internal => "Something went wrong here",
    }
}

/// The only place that maps errors to statuses.
impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        let detail = error.to_string();
        match error {
            ServiceError::NoSuchJob(_)
            | ServiceError::NoSuchAttempt(..)
            | ServiceError::NoSuchWorker(_)
            | ServiceError::NoSuchSchedule(_)
            | ServiceError::NoSuchToken(_)
            | ServiceError::NoSuchWebhook(_)
            | ServiceError::NoSuchDelivery(..) => Self::new(ProblemKind::NotFound, detail),
            ServiceError::KeepsNone(_) => Self::new(ProblemKind::NotFound, detail).hint(
                "give it \"artifacts\", the patterns of files to keep, like [\"build/*.tar.gz\"]",
            ),
            ServiceError::NoSuchArtifact(..) => Self::new(ProblemKind::NotFound, detail)
                .hint("/api/job/{id}/artifacts lists those that there are"),
            ServiceError::NoneEnded(_) | ServiceError::NotEnded(..) => {
                Self::new(ProblemKind::NotFound, detail)
                    .hint("this is known when it has ended: /api/job/{id}?wait=30s waits for that")
            }
            ServiceError::NoChanges(..) => Self::new(ProblemKind::NotFound, detail)
                .hint("attempts that were lost or never began have none"),
            ServiceError::NotAPath(_) => Self::new(ProblemKind::Invalid, detail)
                .hint("no '..', no '/' at either end, no control characters, at most 1024 bytes"),
            ServiceError::ArtifactOffset(head) => Self::new(ProblemKind::ArtifactOffset, detail)
                .hint("go on uploading from artifact.offset")
                .artifact(head),
            ServiceError::ArtifactOverLimit { .. } => Self::new(ProblemKind::TooLarge, detail)
                .hint("leave this file out; who runs the master: see ORCHESTRA_ARTIFACTS_LIMIT"),
            ServiceError::NoSuchUpload(_) => Self::new(ProblemKind::NotFound, detail)
                .hint("bring it with PUT; without a job that has it, it is kept for a day"),
            ServiceError::UploadOffset(offset) => Self::new(ProblemKind::ArtifactOffset, detail)
                .hint("go on uploading from artifact.offset, or begin anew with offset 0")
                .artifact(ArtifactHead { offset }),
            ServiceError::UploadOverLimit(_) => Self::new(ProblemKind::TooLarge, detail)
                .hint("put it into worker-files; who runs the master: see ORCHESTRA_UPLOAD_LIMIT"),
            ServiceError::NoUpload(_) => Self::new(ProblemKind::IllegalStep, detail)
                .hint("upload files of jobs alone that have \"artifacts\""),
            ServiceError::Refused(Refusal::ArtifactIncomplete(missing)) => {
                Self::new(ProblemKind::ArtifactIncomplete, detail)
                    .hint("upload the rest of it, or leave it out, then report the end again")
                    .artifact(missing.head)
            }
            ServiceError::NotItsWorker(_) => Self::new(ProblemKind::Forbidden, detail)
                .hint("use the name that the token was made for, or a token that names none"),
            ServiceError::Refused(Refusal::LeaseLost) => Self::new(ProblemKind::LeaseLost, detail)
                .hint("end this attempt and say nothing more of it"),
            ServiceError::Refused(Refusal::IllegalStep(_))
            | ServiceError::SubmittedAndDeleted(_) => Self::new(ProblemKind::IllegalStep, detail),
            ServiceError::ScheduleExists(_) => Self::new(ProblemKind::Exists, detail)
                .hint("take another name, or remove that one first"),
            ServiceError::TooManySchedules => Self::new(ProblemKind::IllegalStep, detail)
                .hint("remove one that is not needed any more"),
            ServiceError::Untimely { errors, hint } => {
                Self::new(ProblemKind::Invalid, detail).errors(errors).hint(hint)
            }
            ServiceError::KeyOfAnother => Self::new(ProblemKind::IdempotencyMismatch, detail)
                .hint("take a new key for each job, and the same one only to send it again"),
            ServiceError::Refused(Refusal::LogIncomplete(head)) => {
                Self::new(ProblemKind::LogIncomplete, detail)
                    .hint("go on uploading from log.offset, then report the end again")
                    .log(head)
            }
            ServiceError::NotForWorkers(_) => Self::new(ProblemKind::IllegalStep, detail).hint(
                "workers report Running, Completed or Failed, or hand a job back with Pending",
            ),
            ServiceError::Invalid(errors) => Self::new(ProblemKind::Invalid, detail).errors(errors),
            ServiceError::Unsatisfiable { errors, best } => Self::new(ProblemKind::Invalid, detail)
                .errors(errors)
                .hint(format!("{best}; who runs workers: see their ORCHESTRA_MAX_* settings")),
            ServiceError::Frames(_) => Self::new(ProblemKind::Unreadable, detail),
            ServiceError::LogOffset(head) => Self::new(ProblemKind::LogOffset, detail)
                .hint("go on uploading from log.offset")
                .log(head),
            ServiceError::Crowded => Self::new(ProblemKind::Unavailable, detail)
                .hint("try again later; who runs the master: see ORCHESTRA_MAX_STREAMS")
                .header(header::RETRY_AFTER, HeaderValue::from_static("5")),
            ServiceError::Store(error) => Self::from(error),
        }
    }
}

/// The cause of a database error is for the operator: it goes to the master's log only.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { hint, .. } => {
                tracing::warn!(%error, "a request was refused because of the database");
                Self::new(ProblemKind::Unavailable, "the database cannot be used right now")
                    .hint(format!("try again in a moment; who runs the master: {hint}"))
                    .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            }
            StoreError::NoRoom { .. } => {
                tracing::debug!(%error, "a request was refused because of the disk");
                let detail = "the master's disk is full, or nearly so: new work is refused until there is room";
                Self::new(ProblemKind::Unavailable, detail)
                    .hint("try again later; who runs the master: make room on its disk")
                    .header(header::RETRY_AFTER, HeaderValue::from_static("5"))
            }
            StoreError::Corrupt { .. } | StoreError::Unusable { .. } => {
                tracing::error!(%error, "a request failed because of the database");
                internal()
            }
        }
    }
}

/// A defect in the master. The details are in its log.
pub(super) fn internal() -> ApiError {
    let detail = "something went wrong here; nothing was wrong with the request";
    ApiError::new(ProblemKind::Internal, detail)
        .hint("the master's log says more under the x-request-id of this answer")
}

/// Clients have as many requests in progress as they may. The rest is reserved for workers.
pub(super) fn busy() -> ApiError {
    let detail = "the master has as many requests under way as it can serve";
    ApiError::new(ProblemKind::Unavailable, detail)
        .hint("try again later; who runs the master: raise its limit of open files")
        .header(header::RETRY_AFTER, HeaderValue::from_static("5"))
}

/// The raw response for a connection over the limit. It is written before the request is read.
pub(super) fn no_connection_left() -> Vec<u8> {
    let ApiError(parts) = busy();
    let body = serde_json::to_string(&parts.problem).unwrap_or_default();
    let length = body.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {PROBLEM_JSON}\r\nretry-after: 5\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Parts { problem, header } = *self.0;
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response =
            (status(problem.kind), [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        response.extensions_mut().insert(problem.kind);
        response.extensions_mut().insert(Refused(Arc::new(problem)));
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_database_is_not_told() {
        let reason = "row 7 is /var/lib/secret".to_owned();
        let error = StoreError::Unusable { reason, hint: "restore a backup" };
        let ApiError(parts) = ApiError::from(error);
        assert_eq!(parts.problem.status, 500);
        assert!(!format!("{:?}", parts.problem).contains("secret"));
    }

    #[test]
    fn an_absent_database_asks_to_come_again() {
        let error = StoreError::Unavailable { reason: "locked".to_owned(), hint: "wait" };
        let response = ApiError::from(error).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}

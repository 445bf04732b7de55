//! Errors of the use cases.

use orchestra_contracts::{
    AttemptNo, ContentHash, DeliveryId, FieldError, JobId, JobStatus, ScheduleName, Size, TokenId,
    WebhookId, WorkerName,
    frame::FrameError,
    limits,
    worker::{ArtifactHead, LogHead},
};

use crate::{
    domain::Refusal,
    store::{ArtifactLimit, MAX_SCHEDULES, StoreError},
};

/// Every error; one match in `http` turns it into a status.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("there is no job {0}")]
    NoSuchJob(JobId),
    #[error("job {0} has no attempt {1}")]
    NoSuchAttempt(JobId, AttemptNo),
    #[error("there is no worker {0}")]
    NoSuchWorker(WorkerName),
    #[error("there is no token {0}")]
    NoSuchToken(TokenId),
    #[error("there is no webhook {0}")]
    NoSuchWebhook(WebhookId),
    #[error("webhook {0} has no delivery {1}, or its log has dropped it")]
    NoSuchDelivery(WebhookId, DeliveryId),
    #[error("there is no schedule {0}")]
    NoSuchSchedule(ScheduleName),
    #[error("there is a schedule {0} already")]
    ScheduleExists(ScheduleName),
    #[error("there are {MAX_SCHEDULES} schedules, which is as many as a master keeps")]
    TooManySchedules,
    /// The caller's token is for another worker, or the worker has a token of its own.
    #[error("this token may not speak for the worker {0}")]
    NotItsWorker(WorkerName),
    /// The job's state machine refuses the event.
    #[error("this is not possible now: {0}")]
    Refused(#[from] Refusal),
    /// Workers may not set this status.
    #[error("a worker cannot set a job to {0}")]
    NotForWorkers(JobStatus),
    /// Invalid fields; never empty.
    #[error("{}", count(.0))]
    Invalid(Vec<FieldError>),
    /// Invalid fields, with a hint what to write instead.
    #[error("{}", count(.errors))]
    Untimely { errors: Vec<FieldError>, hint: &'static str },
    #[error("this idempotency key was used for another submission within the last day")]
    KeyOfAnother,
    #[error("job {0}, which was submitted with this idempotency key, has been deleted")]
    SubmittedAndDeleted(JobId),
    /// Fields that ask for more than any worker allows; never empty.
    #[error("{}", count(.errors))]
    Unsatisfiable {
        errors: Vec<FieldError>,
        /// The best offer, in a sentence.
        best: String,
    },
    #[error("these are not whole log frames: {0}")]
    Frames(#[from] FrameError),
    /// A piece of a log does not begin at the end of the stored log.
    #[error("the frames do not begin where the stored log ends, which is at {}", .0.offset)]
    LogOffset(LogHead),
    /// The path of a file leads out of its folder.
    #[error("{0:?} is not a path below the working folder")]
    NotAPath(String),
    /// A piece does not begin at the end of what is stored of its file.
    #[error("the piece does not begin where the stored file ends, which is at {}", .0.offset)]
    ArtifactOffset(ArtifactHead),
    #[error("{}", beyond(*.exceeded, *.limit))]
    ArtifactOverLimit { exceeded: ArtifactLimit, limit: Size },
    #[error("there is no upload {0}, or it is not whole yet")]
    NoSuchUpload(ContentHash),
    /// A piece does not begin at the end of what is stored of its file.
    #[error("the piece does not begin where the stored file ends, which is at {0}")]
    UploadOffset(u64),
    #[error("the file has more than {0}, the most that this master takes for jobs")]
    UploadOverLimit(Size),
    /// For workers.
    #[error("job {0} asks for no files to be kept")]
    NoUpload(JobId),
    /// For people.
    #[error("job {0} keeps no artifacts")]
    KeepsNone(JobId),
    #[error("attempt {1} of job {0} left no artifact {2:?}")]
    NoSuchArtifact(JobId, AttemptNo, String),
    #[error("no attempt of job {0} has ended yet")]
    NoneEnded(JobId),
    #[error("attempt {1} of job {0} has not ended yet")]
    NotEnded(JobId, AttemptNo),
    #[error("what attempt {1} of job {0} changed is not known: its worker did not say")]
    NoChanges(JobId, AttemptNo),
    #[error("as many read logs or wait for jobs as this master serves at once")]
    Crowded,
    #[error("the database cannot be used: {0}")]
    Store(#[from] StoreError),
}

impl ServiceError {
    /// One invalid field.
    pub fn field(pointer: &str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { pointer: pointer.to_owned(), detail: detail.into() }])
    }
}

fn beyond(exceeded: ArtifactLimit, limit: Size) -> String {
    match exceeded {
        ArtifactLimit::Files => {
            format!("{} files of this attempt are kept already", limits::ARTIFACTS)
        }
        ArtifactLimit::Bytes => {
            format!("with this file there would be more than {limit} of files of this attempt")
        }
    }
}

fn count(errors: &[FieldError]) -> String {
    match errors.len() {
        1 => "one field is not acceptable".to_owned(),
        many => format!("{many} fields are not acceptable"),
    }
}

//! Submits jobs.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use orchestra_contracts::{
    Condition, FieldError, IdempotencyKey, Job, JobId, JobRef, JobSpec, Specs, limits,
};
use orchestra_program::TraceParent;

use super::{Caller, Service, ServiceError, Settings, trace::Submitting, uploads, vault, view};
use crate::{
    domain::{self, NewJob},
    store::{Once, Submitted},
};

/// The answer to a submission.
#[derive(Debug)]
pub struct Submission {
    /// The jobs. One spec that is no array has one. A repeated submission has those that were not
    /// deleted since; never empty.
    pub jobs: Vec<Job>,
    /// The jobs were submitted before, with the same key.
    pub replayed: bool,
}

impl Service {
    /// Stores all jobs or none, once for each key of a caller, and wakes the dispatcher.
    pub async fn submit(
        &self,
        specs: Specs,
        caller: &Caller,
        key: Option<IdempotencyKey>,
        trace: Option<TraceParent>,
    ) -> Result<Submission, ServiceError> {
        let submitting = Submitting::begin(trace);
        let place = Place::of(&specs);
        let jobs = self.planned(specs.as_slice()).map_err(|errors| place.invalid(errors))?;
        let fingerprint = self.vault.fingerprint(&specs);
        let once = key.map(|key| Once { token: caller.token(), key, fingerprint });
        if let Err(refusal) = self.check_all_offers(specs.as_slice()).await {
            // The same may have been accepted while another worker was there.
            return self.submitted_before(once).await?.ok_or(place.refusal(refusal));
        }
        let now = self.clock.now();
        let prepared = |mut job: NewJob| {
            submitting.mark(&mut job.spec);
            self.prepared(job, now)
        };
        let jobs = jobs.into_iter().map(prepared).collect();
        let storing = self.dispatcher.submit(&*self.store, jobs, once, now);
        match self.metrics.stored("submit", storing).await? {
            Submitted::New(jobs) => {
                let mut jobs: Vec<_> = jobs.iter().map(view::job).collect();
                self.count_submission(&jobs);
                submitting.stored(&jobs);
                self.warn(&mut jobs).await;
                Ok(Submission { jobs, replayed: false })
            }
            Submitted::Before(ids) => self.replay(&ids).await,
            Submitted::Differs => Err(ServiceError::KeyOfAnother),
            Submitted::NoSuchJobs(ids) => Err(place.invalid(unknown(specs.as_slice(), &ids))),
            Submitted::NoSuchUploads(hashes) => {
                Err(place.invalid(uploads::missing(specs.as_slice(), &hashes)))
            }
        }
    }

    /// Checks a submission without storing it. Returns the specs as they would be stored: one for
    /// each job of an array, with names where ids are not given yet.
    pub async fn try_submit(&self, specs: Specs) -> Result<Vec<JobSpec>, ServiceError> {
        let place = Place::of(&specs);
        let jobs = self.planned(specs.as_slice()).map_err(|errors| place.invalid(errors))?;
        self.check_all_offers(specs.as_slice()).await.map_err(|refusal| place.refusal(refusal))?;
        let mut missing = Vec::new();
        let waits_for = specs.as_slice().iter().flat_map(JobSpec::waits_for);
        for id in waits_for.filter_map(|(_, job)| job.id()).collect::<BTreeSet<_>>() {
            if self.store.job(id).await?.is_none() {
                missing.push(id);
            }
        }
        if !missing.is_empty() {
            return Err(place.invalid(unknown(specs.as_slice(), &missing)));
        }
        let mut missing = Vec::new();
        let files = specs.as_slice().iter().flat_map(|spec| &spec.files);
        for upload in files.filter_map(|file| file.upload.as_ref()).collect::<BTreeSet<_>>() {
            if self.store.upload(upload).await?.is_none() {
                missing.push(upload.clone());
            }
        }
        if !missing.is_empty() {
            return Err(place.invalid(uploads::missing(specs.as_slice(), &missing)));
        }
        let now = self.clock.now();
        let shown = |job| {
            let mut spec = self.prepared(job, now).spec;
            vault::hide(&mut spec);
            spec
        };
        Ok(jobs.into_iter().map(shown).collect())
    }

    /// The jobs of the specs, or what is wrong, by the position in the list.
    fn planned(&self, specs: &[JobSpec]) -> Result<Vec<NewJob>, Vec<FieldError>> {
        if specs.is_empty() {
            let detail = "there is no job in it".to_owned();
            return Err(vec![FieldError { pointer: String::new(), detail }]);
        }
        let errors = |(place, spec)| within(place, self.refusals(spec));
        let errors: Vec<FieldError> = specs.iter().enumerate().flat_map(errors).collect();
        if errors.is_empty() { domain::plan(specs) } else { Err(errors) }
    }

    /// What no worker allows. Specs with the same demand are checked once.
    async fn check_all_offers(&self, specs: &[JobSpec]) -> Result<(), (usize, ServiceError)> {
        let mut checked = HashSet::new();
        for (place, spec) in specs.iter().enumerate() {
            if checked.insert((&spec.queue, spec.demand().to_string())) {
                self.check_offers(spec).await.map_err(|refusal| (place, refusal))?;
            }
        }
        Ok(())
    }

    /// Adds warnings. Of jobs with the same demand only the first gets them.
    async fn warn(&self, jobs: &mut [Job]) {
        let mut looked = HashSet::new();
        for job in jobs {
            if looked.insert((
                job.spec.queue.clone(),
                job.spec.workspace,
                job.spec.demand().to_string(),
            )) {
                // They are stored, whatever is known of workers.
                job.warnings = self.warnings(&job.spec).await.unwrap_or_default();
            }
        }
    }

    fn prepared(&self, mut job: NewJob, now: Timestamp) -> NewJob {
        job.spec.timeout.get_or_insert(self.settings.job_timeout);
        put_off(&mut job.spec, now);
        self.vault.seal(&mut job.spec);
        job
    }

    /// The jobs of an earlier submission with the same key, if there was one.
    async fn submitted_before(
        &self,
        once: Option<Once>,
    ) -> Result<Option<Submission>, ServiceError> {
        if once.is_none() {
            return Ok(None);
        }
        match self.store.submit(Vec::new(), once, self.clock.now()).await? {
            Submitted::New(_) | Submitted::NoSuchJobs(_) | Submitted::NoSuchUploads(_) => Ok(None),
            Submitted::Before(ids) => self.replay(&ids).await.map(Some),
            Submitted::Differs => Err(ServiceError::KeyOfAnother),
        }
    }

    async fn replay(&self, ids: &[JobId]) -> Result<Submission, ServiceError> {
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            jobs.extend(self.store.job(*id).await?.as_ref().map(view::job));
        }
        match (jobs.is_empty(), ids.first()) {
            (true, Some(first)) => Err(ServiceError::SubmittedAndDeleted(*first)),
            _ => Ok(Submission { jobs, replayed: true }),
        }
    }

    /// Checks the specs themselves, and against the operator's limits.
    pub(super) fn refusals(&self, spec: &JobSpec) -> Vec<FieldError> {
        let mut errors = spec.validate();
        let longest = self.settings.max_job_timeout;
        if spec.timeout.is_some_and(|timeout| timeout > longest) {
            errors.push(FieldError {
                pointer: "/timeout".to_owned(),
                detail: format!("is longer than {longest}, the longest that this master allows"),
            });
        }
        let latest = self.clock.now().saturating_add(limits::DELAY.0);
        if spec.not_before.is_some_and(|time| latest.is_ok_and(|latest| time > latest)) {
            errors.push(FieldError {
                pointer: "/notBefore".to_owned(),
                detail: format!("is more than {} from now", limits::DELAY),
            });
        }
        let Settings { lease, max_lease, retry, .. } = self.settings;
        if let Some(asked) = spec.lease.filter(|asked| !(lease..=max_lease).contains(asked)) {
            errors.push(FieldError {
                pointer: "/lease".to_owned(),
                detail: if asked < lease {
                    format!("is shorter than {lease}, which every job gets; leave it out")
                } else {
                    format!("is longer than {max_lease}, the longest that this master allows")
                },
            });
        }
        if spec.retry.backoff.is_some_and(|backoff| backoff > retry.max) {
            errors.push(FieldError {
                pointer: "/retry/backoff".to_owned(),
                detail: format!("is longer than {}, the longest wait before a retry", retry.max),
            });
        }
        errors
    }
}

/// Turns a delay into a moment, in whole milliseconds as the database stores it.
pub(super) fn put_off(spec: &mut JobSpec, now: Timestamp) {
    let delayed = spec.delay.take().map(|delay| now.saturating_add(delay.0).unwrap_or(now));
    let moment = spec.not_before.or(delayed).map(Timestamp::as_millisecond);
    spec.not_before = moment.and_then(|millis| Timestamp::from_millisecond(millis).ok());
}

/// Pointers of one spec begin at the top, those of a list at the entry.
#[derive(Clone, Copy)]
enum Place {
    Top,
    List,
}

impl Place {
    fn of(specs: &Specs) -> Self {
        match specs {
            Specs::One(_) => Self::Top,
            Specs::Many(_) => Self::List,
        }
    }

    fn invalid(self, errors: Vec<FieldError>) -> ServiceError {
        ServiceError::Invalid(errors.into_iter().map(|error| self.at(error)).collect())
    }

    fn at(self, mut error: FieldError) -> FieldError {
        if let Self::Top = self {
            error.pointer = error.pointer.strip_prefix("/0").unwrap_or(&error.pointer).to_owned();
        }
        error
    }

    fn refusal(self, (place, refusal): (usize, ServiceError)) -> ServiceError {
        match refusal {
            ServiceError::Unsatisfiable { errors, best } => {
                let errors = within(place, errors).into_iter().map(|error| self.at(error));
                ServiceError::Unsatisfiable { errors: errors.collect(), best }
            }
            other => other,
        }
    }
}

/// Prefixes the errors of the spec at this position.
fn within(place: usize, errors: Vec<FieldError>) -> Vec<FieldError> {
    let move_in = |FieldError { pointer, detail }| FieldError {
        pointer: format!("/{place}{pointer}"),
        detail,
    };
    errors.into_iter().map(move_in).collect()
}

/// Errors for dependencies that do not exist.
fn unknown(specs: &[JobSpec], missing: &[JobId]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (place, spec) in specs.iter().enumerate() {
        for condition in Condition::ALL {
            for (number, job) in spec.after_with(condition).iter().enumerate() {
                if let JobRef::Id(id) = job
                    && missing.contains(id)
                {
                    let pointer = format!("/{place}/{}/{number}", condition.field());
                    errors.push(FieldError { pointer, detail: format!("there is no job {id}") });
                }
            }
        }
    }
    errors
}

//! An index of a history: events of one job are found without scanning those of all others.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use orchestra_contracts::JobId;

use super::{End, History, JobEnd, JobPlan, What, Wish};

/// In recorded order.
type Events<'a> = Vec<(Duration, &'a What)>;

#[derive(Debug)]
pub(super) struct Index<'a> {
    history: &'a History,
    of_job: HashMap<JobId, Events<'a>>,
    ends: HashMap<JobId, &'a JobEnd>,
    plans: HashMap<u64, &'a JobPlan>,
    refused: HashSet<u64>,
}

impl<'a> Index<'a> {
    pub(super) fn of_all(history: &'a History, end: &'a End) -> Self {
        let mut of_job: HashMap<JobId, Events<'a>> = HashMap::new();
        let mut plans = HashMap::new();
        let mut refused = HashSet::new();
        for event in &history.events {
            if let Some(job) = event.what.job() {
                of_job.entry(job).or_default().push((event.at, &event.what));
            }
            match &event.what {
                What::SubmitSent { request, plan } => drop(plans.entry(*request).or_insert(plan)),
                What::SubmitRefused { request, .. } => drop(refused.insert(*request)),
                _ => (),
            }
        }
        let mut ends = HashMap::new();
        for end in &end.jobs {
            ends.entry(end.job.id).or_insert(end);
        }
        Self { history, of_job, ends, plans, refused }
    }

    /// All events with their times.
    pub(super) fn all(&self) -> impl Iterator<Item = (Duration, &'a What)> + use<'a> {
        self.history.events.iter().map(|event| (event.at, &event.what))
    }

    /// The events of this job.
    pub(super) fn of(&self, job: JobId) -> impl DoubleEndedIterator<Item = (Duration, &'a What)> {
        self.of_job.get(&job).into_iter().flatten().copied()
    }

    /// The job's final state, if it still exists.
    pub(super) fn end(&self, job: JobId) -> Option<&'a JobEnd> {
        self.ends.get(&job).copied()
    }

    /// Whether this was requested before `until`, answered or not.
    pub(super) fn was_asked(&self, of: JobId, what: Wish, until: Duration) -> bool {
        self.of(of).any(|(at, event)| {
            at <= until && matches!(event, What::Asked { wish, .. } if *wish == what)
        })
    }

    /// The plan of a job, found through the answer that assigned its id, else through its label.
    pub(super) fn plan(&self, of: JobId, label: Option<&String>) -> Option<&'a JobPlan> {
        let answered = self.of(of).find_map(|(_, event)| match event {
            What::Submitted { request, .. } => Some(*request),
            _ => None,
        });
        let number = answered.or_else(|| label?.parse().ok())?;
        self.plans.get(&number).copied()
    }

    /// Whether the submission with this number, as the label spells it, was refused.
    pub(super) fn is_refused(&self, label: &str) -> bool {
        label.parse().is_ok_and(|request: u64| {
            self.refused.contains(&request) && request.to_string() == label
        })
    }
}

impl What {
    /// The job that the event is about, if any.
    fn job(&self) -> Option<JobId> {
        match self {
            Self::Submitted { job, .. }
            | Self::Asked { job, .. }
            | Self::Answered { job, .. }
            | Self::Seen { job, .. }
            | Self::Missing { job, .. }
            | Self::ContainerStarted { job, .. }
            | Self::ContainerGone { job, .. }
            | Self::LeaseUntil { job, .. }
            | Self::Wrote { job, .. }
            | Self::Followed { job, .. }
            | Self::EndAccepted { job, .. }
            | Self::StaleWrite { job, .. } => Some(*job),
            Self::SubmitSent { .. }
            | Self::SubmitRefused { .. }
            | Self::SubmitUnknown { .. }
            | Self::Answers { .. }
            | Self::ServerError { .. }
            | Self::Printed { .. }
            | Self::Measured { .. }
            | Self::Stored { .. }
            | Self::Fault { .. }
            | Self::Healed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{
        super::{Limits, check, history::REQUEST_LABEL, testing::Scene},
        *,
    };

    /// This many jobs like the one of [`Scene::good`], one after another.
    fn crowd(jobs: u64) -> Scene {
        let one = Scene::good();
        let mut all = Scene::good();
        for number in 2..=jobs {
            let id = JobId(number as i64);
            for event in &one.history.events {
                if let Some(what) = renumbered(&event.what, number, id) {
                    all.then(what);
                }
            }
            let mut end = one.end.jobs[0].clone();
            end.job.id = id;
            end.job.spec.labels.insert(REQUEST_LABEL.to_owned(), number.to_string());
            all.end.jobs.push(end);
        }
        all.end.at = all.now();
        all
    }

    /// The same event, for a job with another number and id.
    fn renumbered(what: &What, number: u64, id: JobId) -> Option<What> {
        let mut what = what.clone();
        match &mut what {
            What::SubmitSent { request, .. } => *request = number,
            What::Submitted { request, job } => (*request, *job) = (number, id),
            What::Seen { job, .. }
            | What::ContainerStarted { job, .. }
            | What::ContainerGone { job, .. }
            | What::Wrote { job, .. }
            | What::StaleWrite { job, .. } => *job = id,
            _ => return None,
        }
        Some(what)
    }

    fn time(jobs: u64) -> Duration {
        let scene = crowd(jobs);
        let judge = || {
            let begun = Instant::now();
            let judgement = check(&scene.history, &scene.end, &Limits::default());
            let took = begun.elapsed();
            assert_eq!(judgement.violations, []);
            assert!(
                judgement.unjudged().is_empty()
                    && judgement.judged(super::super::Invariant::I1) == jobs
            );
            took
        };
        (0..3).map(|_| judge()).min().unwrap_or_default()
    }

    /// If every lookup scanned the whole history, eight times as many jobs would take 64 times as long.
    #[test]
    fn the_time_to_judge_grows_no_faster_than_the_history() {
        let (few, many) = (time(250), time(2000));
        eprintln!("250 jobs: {few:?}, 2000 jobs: {many:?}");
        assert!(many < 24 * few, "250 jobs took {few:?}, 2000 took {many:?}");
    }
}

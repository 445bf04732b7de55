//! A good history for the checker's own tests, which then break it.

use std::time::Duration;

use orchestra_contracts::{
    Attempt, AttemptNo, Job, JobId, JobSpec, JobStatus, Outcome, WorkerName, frame::Stream,
};
use serde_json::json;

use super::{
    Content, End, Event, History, Invariant, JobEnd, JobPlan, Judgement, Limits, Phase, Piece,
    Text, What, Wish, check, history::REQUEST_LABEL,
};

const COMMAND: &str = "seq -f 'line %g' 3";
const LOG: &str = "line 1\nline 2\nline 3\n";

/// A history and its final state, for a test to break.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) history: History,
    pub(super) end: End,
}

pub(super) fn fault() -> What {
    What::Fault { kind: "kill".to_owned(), target: "worker".to_owned() }
}

impl Scene {
    /// Time between two events.
    pub(super) const STEP: Duration = Duration::from_millis(500);

    /// One job that is submitted, run, read and finished correctly during a fault. Every invariant has
    /// something to judge.
    pub(super) fn good() -> Self {
        Self::ended(JobStatus::Completed, Outcome::Exited { code: 0 })
    }

    /// The same with another end.
    pub(super) fn ended(status: JobStatus, outcome: Outcome) -> Self {
        let (job, attempt) = (JobId(1), AttemptNo(1));
        let end = JobEnd {
            job: ended_job(status, &outcome),
            attempts: vec![ended_attempt(&outcome)],
            logs: vec![(attempt, vec![Piece::Bytes(Stream::Stdout, LOG.into())])],
        };
        let end = End { jobs: vec![end], left: Some(Vec::new()), ..End::default() };
        let mut scene = Self { history: History::default(), end };
        let measured = |phase| What::Measured {
            program: "master".to_owned(),
            phase,
            memory: 40 << 20,
            files: 10,
            threads: 4,
        };
        let ends = vec![Outcome::Exited { code: 0 }, Outcome::Exited { code: 1 }];
        let plan = JobPlan { command: COMMAND.to_owned(), max_retries: 0, ends };
        scene.then(measured(Phase::Before));
        scene.then(What::SubmitSent { request: 1, plan });
        scene.then(What::Submitted { request: 1, job });
        let content = Content::stdout(Text::Lines(3));
        scene.then(What::Wrote { job, attempt: None, content });
        scene.started(attempt, "one");
        scene.then(fault());
        scene.gone(attempt, "one");
        scene.then(What::StaleWrite { job, attempt, refused: true });
        scene.then(What::Healed);
        scene.seen(status, Some(outcome));
        scene.then(measured(Phase::After));
        scene.then(What::Answers { count: 100 });
        scene.end.at = scene.now();
        scene
    }

    pub(super) fn check(&self) -> Judgement {
        check(&self.history, &self.end, &Limits::default())
    }

    /// Asserts that the checker finds this invariant broken.
    pub(super) fn breaks(&self, invariant: Invariant) {
        let judgement = self.check();
        let found = judgement.violations.iter().any(|it| it.invariant == invariant);
        assert!(found, "the checker did not find {invariant} broken: {judgement}");
        assert!(judgement.judged(invariant) > 0, "{judgement}");
    }

    pub(super) fn now(&self) -> Duration {
        self.history.events.last().map_or(Duration::ZERO, |event| event.at)
    }

    pub(super) fn then(&mut self, what: What) {
        self.history.record(self.now() + Self::STEP, what);
    }

    /// Records an unrelated event this much later.
    pub(super) fn later(&mut self, by: Duration) {
        self.history.record(self.now() + by, What::Answers { count: 1 });
    }

    pub(super) fn started(&mut self, attempt: AttemptNo, worker: &str) {
        self.then(What::ContainerStarted { job: JobId(1), attempt, worker: name(worker) });
    }

    pub(super) fn gone(&mut self, attempt: AttemptNo, worker: &str) {
        self.then(What::ContainerGone { job: JobId(1), attempt, worker: name(worker) });
    }

    pub(super) fn seen(&mut self, status: JobStatus, outcome: Option<Outcome>) {
        let since = self.now() + Self::STEP / 2;
        let (job, attempt) = (JobId(1), Some(AttemptNo(1)));
        self.then(What::Seen { job, since, status, attempt, outcome });
    }

    /// Moves the read that saw this status to this time.
    pub(super) fn seen_at(&mut self, at: Duration, status: JobStatus) {
        let seen = |event: &&mut Event| matches!(event.what, What::Seen { status: of, .. } if of == status);
        self.history.events.iter_mut().find(seen).expect("it was seen").at = at;
    }

    /// Changes the status and outcome of every read of the job.
    pub(super) fn ended_as(&mut self, as_status: JobStatus, as_outcome: &Outcome) {
        for event in &mut self.history.events {
            if let What::Seen { status, outcome, .. } = &mut event.what {
                (*status, *outcome) = (as_status, Some(as_outcome.clone()));
            }
        }
    }

    pub(super) fn answered(&mut self, wish: Wish, status: u16, attempt: Option<AttemptNo>) {
        let job = JobId(1);
        self.then(What::Asked { job, wish });
        self.then(What::Answered { job, wish, status, attempt });
    }

    pub(super) fn job(&mut self) -> &mut Job {
        &mut self.end.jobs[0].job
    }

    pub(super) fn log(&mut self, log: Vec<Piece>) {
        self.end.jobs[0].attempts[0].log_bytes = super::content::length(&log);
        self.end.jobs[0].logs[0].1 = log;
    }

    pub(super) fn plan(&mut self) -> &mut JobPlan {
        let plans = self.history.events.iter_mut().find_map(|event| match &mut event.what {
            What::SubmitSent { plan, .. } => Some(plan),
            _ => None,
        });
        plans.expect("the job was submitted")
    }
}

fn name(worker: &str) -> WorkerName {
    worker.parse().expect("it is a name")
}

fn ended_attempt(outcome: &Outcome) -> Attempt {
    let attempt = json!({
        "number": 1, "worker": "one", "claimedAt": "2026-01-01T00:00:00Z",
        "logBytes": LOG.len(), "outcome": outcome,
    });
    serde_json::from_value(attempt).expect("it is an attempt")
}

fn ended_job(status: JobStatus, outcome: &Outcome) -> Job {
    let mut spec = JobSpec::new(COMMAND);
    spec.labels.insert(REQUEST_LABEL.to_owned(), "1".to_owned());
    let mut job = serde_json::to_value(spec).expect("a spec is JSON");
    let rest = json!({
        "id": 1, "status": status, "assignedWorker": "one", "retryCount": 0, "attempt": 1,
        "output": LOG, "error": "", "outputTruncated": false, "exitCode": outcome.exit_code(),
        "outcome": outcome, "reason": outcome.to_string(), "usage": null,
        "createdAt": "2026-01-01T00:00:00Z", "startedAt": null, "finishedAt": null,
    });
    let fields = job.as_object_mut().expect("a spec is an object");
    fields.extend(rest.as_object().expect("it is an object").clone());
    serde_json::from_value(job).expect("it is a job")
}

#[test]
fn a_good_history_breaks_nothing_and_leaves_nothing_unjudged() {
    let judgement = Scene::good().check();
    judgement.assert_good(&Invariant::ALL);
    assert_eq!(judgement.unjudged(), []);
}

#[test]
fn an_empty_history_judges_nothing_and_says_so() {
    let judgement = check(&History::default(), &End::default(), &Limits::default());
    assert_eq!(judgement.violations, []);
    assert_eq!(judgement.unjudged(), Invariant::ALL);
    assert!(judgement.to_string().contains("I7 unjudged: nothing is left behind"));
}

#[test]
fn a_history_is_read_as_it_was_written() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut scene = Scene::good();
    scene.then(What::Followed {
        job: JobId(1),
        log: vec![(
            AttemptNo(1),
            vec![Piece::Gap(3), Piece::Bytes(Stream::Stderr, "\u{0}x".into())],
        )],
        whole: true,
    });
    scene.history.save(file.path()).expect("it can be written");
    assert_eq!(History::load(file.path()).expect("it can be read"), scene.history);
}

//! Jobs and their rules. Pure: no IO, no async, no clock (`now` is an argument), no randomness (the
//! jitter is an argument too).

mod bulk;
mod explain;
mod job;
mod lease;
mod machine;
mod offers;
mod queues;
mod results;
mod retry;
mod schedules;
mod timetable;
mod webhooks;

pub use bulk::{NewJob, Upstream, plan};
pub use explain::{ExplainContext, WorkerMatch, explain};
pub use job::{
    Effects, Element, Finish, Hold, Job, JobEvent, JobState, Lease, Proof, Refusal, Rules, Stop,
    Tail, Verdict,
};
pub use lease::LeasePolicy;
pub use machine::apply;
pub use offers::{Offers, Unsatisfiable};
pub use queues::QueueRules;
pub use results::{AttemptResults, MissingArtifact};
pub use retry::RetryPolicy;
pub use schedules::{Due, Missed, Turn, due, turn};
pub use timetable::Timetable;
pub use webhooks::{Answer, EndFilter, Next, TRIES};

#[cfg(test)]
mod tests;

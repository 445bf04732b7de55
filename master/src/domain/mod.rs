//! What a job is and what may happen to it. Pure: no IO, no async, no clock
//! (`now` is an argument), no randomness (the jitter is one too).

mod job;
mod lease;
mod machine;
mod retry;

pub use job::{
    Effects, Finish, Job, JobEvent, JobState, Lease, Proof, Refusal, Rules, Stop, Tail, Verdict,
};
pub use lease::LeasePolicy;
pub use machine::apply;
pub use retry::RetryPolicy;

#[cfg(test)]
mod tests;

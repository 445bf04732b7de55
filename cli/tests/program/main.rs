//! The program as people start it, where no container engine is needed.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as loudly as the test")]

mod artifacts;
mod jobs;
mod looking;
mod own;
mod support;
mod tls;

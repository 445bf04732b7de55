//! The client against a master that sends exactly what a test scripts.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as loudly as the test")]

mod artifacts;
mod calls;
mod follow;
mod server;

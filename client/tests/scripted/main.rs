//! The client against a master that says exactly what a test wants it to say.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as loudly as the test")]

mod artifacts;
mod calls;
mod follow;
mod server;

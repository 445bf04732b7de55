//! The program as a worker meets it: an ordinary child process, or PID 1 of a
//! namespace of its own, with the protocol over its standard input and output.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attack;
mod ending;
mod flood;
mod harness;
mod lease;
mod pid_one;
mod running;
mod secrets;
mod wall;
mod work;

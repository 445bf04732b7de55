//! The program as a worker sees it: an ordinary child process, or PID 1 of its own namespace, with
//! the protocol on its standard input and output.

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

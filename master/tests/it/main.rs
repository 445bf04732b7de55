//! The master through its public interface: its router, its service and a real database, with a clock
//! that the tests set.

#![expect(clippy::unwrap_used, reason = "this is a test; the lint knows only its test functions")]

mod access;
mod artifacts;
mod bad_input;
mod browsers;
mod bulk;
mod calls;
mod completing;
mod crowd;
mod curl_worker;
mod ending;
mod explain;
mod faulty;
mod flood;
mod follow;
mod harness;
mod idempotency;
mod job_files;
mod leases;
mod list;
mod log_text;
mod metrics;
mod offers;
mod openapi;
mod polling;
mod queues;
mod race;
mod readers;
mod receiver;
mod retention;
mod schedules;
mod secrets;
mod server;
mod shuffled;
mod startup;
mod tls;
mod tokens;
mod traces;
mod trouble;
mod unheard;
mod upload;
mod waiting;
mod web;
mod webhook_trouble;
mod webhooks;

//! The harness of the whole-system tests. It starts the real `orchestra` program on free ports
//! and in temporary folders, speaks to it only through the REST API and the command line, and
//! leaves nothing behind.
//!
//! It must never reach into the programs it tests. Of the workspace's crates it depends only on
//! `contracts`, for the wire format.
//!
//! * [`Stack`] is a master and its workers; [`Plan`] configures it.
//! * [`Api`] is the REST API, typed where that helps and raw where it matters.
//! * [`breakpoint`] kills a program at a named step.
//! * [`chaos`] injects faults drawn from a seed and records what happens.
//! * [`proxy`] is a TCP proxy that imitates network faults.
//! * [`Namespace`] is a network namespace that stands in for another machine.
//! * [`program`] builds, starts, signals and runs `orchestra`.
//! * [`check`] judges a recorded history by the invariants I1 to I12.
//! * [`daemon`] is an engine of the test's own, which it can restart and freeze.
//! * [`engine`] inspects the containers that workers left.
//! * [`Masters`] is several masters on one database.
//! * [`Postgres`] is a database server of the tests' own.
//! * [`SmallDisk`] is a disk that can be filled.
//! * [`wait`] waits for a condition, never for a fixed time.

pub mod breakpoint;
pub mod chaos;
pub mod check;
pub mod daemon;
pub mod engine;
mod http;
mod namespace;
pub mod program;
pub mod proxy;
pub mod wait;

mod api;
mod disk;
mod masters;
mod ports;
mod postgres;
mod reply;
mod settings;
mod stack;
mod tools;

pub use api::Api;
pub use disk::SmallDisk;
pub use http::client_builder;
pub use masters::{Master, Masters};
pub use namespace::Namespace;
pub use ports::free_port;
pub use postgres::Postgres;
pub use program::Memory;
pub use proxy::{Proxy, Toxic};
pub use reply::Reply;
pub use settings::{flood, guards, old_program, rounds, soak};
pub use stack::{Plan, Stack, Turn, Way, Worker, turn, unique_name};
pub use tools::{curl, is_root, repository, say, shell, skip};

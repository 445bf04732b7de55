//! The harness of the whole-system tests: it starts the real `orchestra`
//! program on free ports and temporary folders, speaks to it through its REST
//! API and its command line alone, and leaves nothing behind.
//!
//! It must never reach into the programs it tests: of the workspace's crates it
//! knows `contracts`, for the shapes on the wire, and nothing else.
//!
//! * [`Stack`] is a master and its workers; [`Plan`] says what they are like.
//! * [`Api`] is the REST API, typed where that helps and raw where it matters.
//! * [`breakpoint`] kills a program at a named step.
//! * [`chaos`] breaks things by a seed and records what happens.
//! * [`proxy`] stands between two programs and does what networks do.
//! * [`Namespace`] is another machine, as far as a network can tell.
//! * [`program`] builds, starts, signals and runs `orchestra`.
//! * [`check`] judges what was recorded by the invariants I1 to I12.
//! * [`daemon`] is an engine of a test's own, to be restarted and frozen.
//! * [`engine`] looks at the containers that the workers left.
//! * [`Masters`] are several of them on one database.
//! * [`Postgres`] is a database server of the tests' own.
//! * [`SmallDisk`] is a disk that can be filled.
//! * [`wait`] waits for a condition, never for a while.

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

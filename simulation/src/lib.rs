//! The protocol under simulated faults. Masters, workers and clients run as the real code, on one
//! thread and in virtual time. The network, disk, engine and clock fail according to a seed.
//!
//! These parts are real: the router with all its handlers, the service, the dispatcher, upkeep and
//! the domain's state machine; the worker from registration to outbox; the client and its
//! follower. These are simulated: HTTP as bytes on a connection (`network`), the database (`disk`,
//! over the master's in-memory store), the containers (`engine`, `container`), and the master's
//! wall clock (`clocks`).
//!
//! `balancer` and `staff` run the same workers, engine and people against real masters, over HTTP
//! and in real time (`tests/masters.rs`, `tests/herd.rs`).
//!
//! A run is determined by its seed: [`run`](run::run) shows where its randomness comes from.

pub mod balancer;
pub mod chance;
pub mod clients;
pub mod clocks;
pub mod container;
pub mod disk;
pub mod engine;
pub mod faults;
pub mod hosts;
pub mod network;
pub mod process;
pub mod record;
pub mod run;
pub mod script;
pub mod settings;
pub mod staff;

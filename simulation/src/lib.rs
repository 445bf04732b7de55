//! The protocol under simulated faults: masters, workers and clients run as the real
//! code, in one thread and in virtual time, on a network, a disk, an engine and a
//! clock that fail as a seed says.
//!
//! What is real: the router with all its handlers, the service, the dispatcher,
//! upkeep, the machine of the domain; the worker from its registration to its
//! outbox; the client with its follower. What is simulated: HTTP's bytes on a
//! connection (`network`), the database (`disk`, over the master's store in memory),
//! the containers (`engine`, `container`), and the master's wall clock (`clocks`).
//!
//! `balancer` and `staff` have the same workers, engine and people before real masters, over
//! HTTP and in real time (`tests/masters.rs`, `tests/herd.rs`).
//!
//! The same seed does the same: [`run`](run::run) says where its chance comes from.

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

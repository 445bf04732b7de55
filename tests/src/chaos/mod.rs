//! Injects faults drawn from a seed, and records what happens for [`crate::check`].
//!
//! * [`Recorder`] holds the one clock and the one list that every observer writes to.
//! * [`Caller`] is a client that tolerates any fault and records every answer.
//! * [`Mix`] draws jobs, [`Nemesis`] draws faults. [`Zombie`] sends what a worker would send that
//!   does not know that its lease is over.
//! * [`containers`] listens to the engine, [`measure`] reads the resource use of processes.

pub mod containers;
pub mod measure;

mod caller;
mod follower;
mod mix;
mod nemesis;
mod recorder;
mod zombie;

pub use caller::Caller;
pub use follower::follow;
pub use mix::{Drawn, Kind, Mix};
pub use nemesis::Nemesis;
pub use recorder::Recorder;
pub use zombie::Zombie;

//! Breaking things by a seed, and recording what happens for [`crate::check`].
//!
//! * [`Recorder`] is the one clock and the one list; everybody writes into it.
//! * [`Caller`] is a client that bears anything and records every answer.
//! * [`Mix`] draws jobs, [`Nemesis`] draws faults; [`Zombie`] says what a worker
//!   would say that does not know that its lease is over.
//! * [`containers`] listens to the engine, [`measure`] looks at processes.

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

//! The framed protocol between a worker and PID 1 of its job containers, over the container's
//! attached standard input and output.
//!
//! ```text
//! worker -> sandbox   Run, File*, Renew, Terminate, Kill
//! sandbox -> worker   Ready, Taken, [Started, {Output | Gap | Note}*], [Changes], [Artifacts],
//!                     (Exited | Failed)
//!
//! frame: kind u8 | length u32 le | payload | '\n'
//! ```
//! The line feed at the end is for the engine's log drivers: they hold back everything after the
//! last line feed, and a worker that takes a container back reads its frames from that log.
//!
//! Numbers are little-endian; durations are whole milliseconds.

mod command;
mod decoder;
mod event;
mod payload;
#[cfg(test)]
mod tests;

pub use command::{Attempt, Command, File, Lease, Run};
pub use decoder::{Decoder, Malformed, Message};
pub use event::{
    Artifact, Artifacts, Changes, Event, Exit, Killed, Ready, Status, Stream, Throttled,
    encode_output,
};

/// The protocol version, on which both sides must agree. A sandbox reports it in [`Event::Ready`].
pub const VERSION: u32 = 8;

/// The longest payload of a frame, in bytes. The longest frame is a [`Run`] with its script,
/// environment and standard input.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// The longest path, in bytes. Longer ones are neither reported nor accepted.
pub const MAX_PATH: usize = 1024;

/// The longest piece of output in one frame, in bytes.
pub const MAX_OUTPUT: usize = 64 << 10;

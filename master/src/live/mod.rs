//! The log while it grows. A reader takes stored chunks after its cursor and
//! waits only when there are none, so a slow one costs no memory, and what it
//! sees is stored already.
//!
//! The hub carries no data: it says "look again", nothing else.

mod follow;
mod hub;
mod last_lines;
pub mod sse;
mod text;

pub use follow::{Follow, FollowError, FollowEvent, Reading, Start, Streams};
pub use hub::{Hub, Watch};
pub use last_lines::last_lines;
pub use text::Text;

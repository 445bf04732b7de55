//! Readers of logs while they grow. A reader takes stored chunks after its cursor and waits only
//! when there are none, so a slow reader costs no memory, and what it sees is stored already.
//!
//! Files are read here as well, in pieces: artifacts and uploads.
//!
//! The hub carries no data: it only says "look again".

mod file;
mod follow;
mod hub;
mod last_lines;
mod orders;
mod reading;
mod shared;
pub mod sse;
mod text;

pub(crate) use file::Files;
pub use file::{ArtifactReader, Content, CutOff, Reader};
pub use follow::{Follow, FollowError, FollowEvent};
pub use hub::{Hub, Watch};
pub use last_lines::last_lines;
pub use orders::OrderSignals;
pub use reading::{Reading, Start, Streams};
pub use text::Text;

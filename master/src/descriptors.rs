//! How many connections the descriptors of this process allow. Readers get a
//! part of them, so that there are always some left for workers.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the database, the log, and what the rest of the program opens.
const OTHERS: usize = 128;
/// More than anybody needs. Each takes some kilobytes, also when it says nothing.
const ENOUGH: usize = 1 << 15;
/// Of the connections, readers may hold this part: the first of the second.
const READERS: (usize, usize) = (3, 4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
}

impl Descriptors {
    /// Asks for as many as the system gives, and divides them.
    pub(crate) fn claim(max_streams: usize) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        // Everybody may raise it so far. When that fails, less is divided.
        let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        let limit = if raised.is_ok() { maximum } else { current };
        Self::of(limit.map_or(usize::MAX, |limit| limit as usize), max_streams)
    }

    fn of(limit: usize, max_streams: usize) -> Self {
        let enough = max_streams.saturating_mul(2).max(ENOUGH);
        let connections = limit.saturating_sub(OTHERS).clamp(1, enough);
        let streams = max_streams.min(connections / READERS.1 * READERS.0).max(1);
        if streams < max_streams {
            tracing::warn!(streams, limit, "fewer readers than set: raise the limit of open files");
        }
        Self { connections, streams }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_never_get_all_connections() {
        for (limit, wanted, connections, streams) in [
            (1 << 20, 8192, 1 << 15, 8192),
            (1 << 20, 1 << 16, 1 << 17, 1 << 16),
            (1024, 8192, 896, 672),
            (1024, 100, 896, 100),
            (64, 8192, 1, 1),
        ] {
            assert_eq!(Descriptors::of(limit, wanted), Descriptors { connections, streams });
        }
    }
}

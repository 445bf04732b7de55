//! Divides this process's file descriptors among connections. Readers of logs get only a share of
//! them, so that some are always left for workers.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Reserved for the database, the log, and other files of the program.
const OTHERS: usize = 128;
/// More connections than any installation needs. Each costs some kilobytes, even when idle.
const ENOUGH: usize = 1 << 15;
/// The share of connections that readers may hold, as (numerator, denominator).
const READERS: (usize, usize) = (3, 4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
}

impl Descriptors {
    /// Raises the descriptor limit as far as the system allows, and divides it.
    pub(crate) fn claim(max_streams: usize) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        // Any process may raise its soft limit to the hard one. If that fails, the soft limit is
        // divided.
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

//! Other queues. Each runs its own server in a folder of ours and is stopped afterwards. Nothing is
//! installed: for a missing queue the report says how to get it.
//!
//! * `beanstalkd` is driven over the network like our master, by the same number of clients.
//! * `python` covers libraries; each enqueues jobs and runs its own workers.

mod beanstalkd;
mod python;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{error::BenchError, rows::Bench, statistics::Samples};

/// A peer and its measurements so far.
#[derive(Debug)]
pub(crate) struct Peer {
    name: &'static str,
    durable: bool,
    kind: Kind,
    samples: Samples,
    missing: Option<BenchError>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Syncing at every write, or with its defaults.
    Beanstalkd {
        sync: bool,
    },
    Python(&'static str),
}

pub(crate) fn all() -> Vec<Peer> {
    let peer = |name, durable, kind| {
        let (samples, missing) = Default::default();
        Peer { name, durable, kind, samples, missing }
    };
    vec![
        peer("beanstalkd -f 0", true, Kind::Beanstalkd { sync: true }),
        peer("beanstalkd as it comes (not durable)", false, Kind::Beanstalkd { sync: false }),
        peer("huey on SQLite, fsync", true, Kind::Python("huey")),
        peer("celery on redis, appendfsync always", true, Kind::Python("celery")),
        peer("procrastinate on PostgreSQL", true, Kind::Python("procrastinate")),
    ]
}

impl Peer {
    /// Measures one more block, unless the peer was found missing before.
    pub(crate) async fn block(&mut self, bench: &Bench, time: Duration) -> Result<(), BenchError> {
        if self.missing.is_some() {
            return Ok(());
        }
        let folder = tempfile::tempdir_in(bench.folder()).map_err(BenchError::io("a folder"))?;
        let measured = match self.kind {
            Kind::Beanstalkd { sync } => beanstalkd::block(folder.path(), time, sync).await,
            Kind::Python(library) => python::block(folder.path(), library, time).await,
        };
        match measured {
            Ok(per_second) => self.samples.add_block(vec![per_second]),
            Err(missing @ BenchError::Missing { .. }) => self.missing = Some(missing),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Its name, whether an acknowledged job survives a power loss, and jobs per second.
    pub(crate) fn done(self) -> Result<(&'static str, bool, Samples), BenchError> {
        match self.missing {
            Some(missing) => Err(missing),
            None => Ok((self.name, self.durable, self.samples)),
        }
    }
}

/// Finds a program on the PATH or in one of these folders.
fn program(name: &str, others: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(others.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| Path::is_file(file))
}

fn free_port() -> Result<u16, BenchError> {
    crate::stack::free_port()
}

//! Receives the job's files before the shell starts, as long as its lease lasts.

use std::time::Duration;

use orchestra_sandbox::protocol::{Command, Run};

use crate::{clock::Clock, files::Incoming, folder::Folder, line::Line};

/// Returns when all files are in place, with the current end of the lease. The error is a sentence
/// for the user.
pub(crate) fn files(
    root: &Folder,
    run: &Run,
    line: &mut Line,
    clock: &Clock,
) -> Result<Duration, String> {
    let mut lease = clock.end_of(run.lease);
    let mut incoming = Incoming::new(root, run.files);
    while !incoming.is_complete() {
        match line.command()? {
            Some(Command::File(piece)) => incoming.take(&piece)?,
            Some(Command::Renew(longer)) => lease = clock.end_of(longer),
            Some(Command::Terminate { .. } | Command::Kill) => {
                return Err("it was ended while its files were on their way".to_owned());
            }
            Some(Command::Run(_)) => return Err("the worker sent a second job".to_owned()),
            None if line.is_closed() || clock.now() >= lease => {
                return Err("the files that come with it did not arrive".to_owned());
            }
            None => line
                .talk(clock, lease)
                .map_err(|error| format!("cannot listen to the worker: {error}"))?,
        }
    }
    Ok(lease)
}

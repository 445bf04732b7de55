//! The read end of one of the job's output pipes.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use orchestra_sandbox::protocol::Stream;

use crate::sys;

#[derive(Debug)]
pub(crate) struct Pipe {
    stream: Stream,
    /// `None` once nobody can write to it any more.
    file: Option<File>,
}

impl Pipe {
    pub(crate) fn new(stream: Stream, end: Option<impl Into<OwnedFd>>) -> io::Result<Self> {
        let file = end.map(|end| File::from(end.into()));
        file.as_ref().map_or(Ok(()), sys::never_block)?;
        Ok(Self { stream, file })
    }

    pub(crate) fn stream(&self) -> Stream {
        self.stream
    }

    pub(crate) fn end(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Returns how many bytes were read: 0 if there are none, for now or for good.
    pub(crate) fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Ok(0) };
        match file.read(chunk) {
            Ok(0) => {
                self.file = None;
                Ok(0)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }
}

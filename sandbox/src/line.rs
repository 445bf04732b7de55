//! The connection to the worker: commands in, frames out. Neither direction ever blocks. Frames
//! that the worker does not take yet are buffered here, and their producers check
//! [`Line::has_room`] first. So a stalled worker slows the job down, but cannot delay the end of
//! its lease.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use orchestra_sandbox::protocol::{self, Command, Decoder, Event, Exit, Message, Stream};

use crate::{
    clock::Clock,
    sys::{self, Watched},
};

/// Several times what the pipe holds (64 KiB), so that one `write` can fill it.
const ROOM: usize = 256 << 10;

/// Commands are short, except for the first.
const CHUNK: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Line {
    /// `None` after the end of the input. The worker may still be alive, but sends nothing more
    /// here.
    input: Option<File>,
    decoder: Decoder,
    output: File,
    pending: Vec<u8>,
    /// Length of all frames so far.
    said: u64,
}

impl Line {
    /// Uses standard input and output, which must not be used by anything else from then on.
    pub(crate) fn open() -> io::Result<Self> {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        sys::never_block(&output)?;
        let (decoder, pending) = (Decoder::default(), Vec::new());
        Ok(Self { input: Some(input), decoder, output, pending, said: 0 })
    }

    /// The next command that has arrived. The error is a sentence; no commands follow it.
    pub(crate) fn command(&mut self) -> Result<Option<Command>, String> {
        self.decoder.next().map_err(|malformed| {
            self.input = None;
            self.decoder = Decoder::default();
            format!("the worker sent something that is no command: {malformed}")
        })
    }

    /// No more commands can arrive.
    pub(crate) fn is_closed(&self) -> bool {
        self.input.is_none()
    }

    /// Fills in the event's `said`, the length of all frames before it.
    pub(crate) fn send(&mut self, event: &Event) {
        let said = self.said;
        self.append(|pending| match event {
            Event::Exited(exit) => Event::Exited(Exit { said, ..*exit }).encode(pending),
            Event::Output { stream, at, bytes, .. } => {
                protocol::encode_output(pending, *stream, *at, said, bytes);
            }
            event => event.encode(pending),
        });
    }

    pub(crate) fn send_output(&mut self, stream: Stream, at: Duration, bytes: &[u8]) {
        let said = self.said;
        self.append(|pending| protocol::encode_output(pending, stream, at, said, bytes));
    }

    fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let before = self.pending.len();
        encode(&mut self.pending);
        self.said += (self.pending.len() - before) as u64;
    }

    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < ROOM
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.pending.is_empty()
    }

    /// Writes as much as the worker takes without waiting.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.pending.len() {
            match self.output.write(&self.pending[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.pending.drain(..written);
        Ok(())
    }

    /// Waits until the worker sends or takes something, but no longer than `until`.
    pub(crate) fn talk(&mut self, clock: &Clock, until: Duration) -> io::Result<()> {
        self.talk_and_watch(clock, until, [None; 3]).map(|_| ())
    }

    /// Like [`Line::talk`], but also ends when one of `others` is readable; returns which ones are.
    pub(crate) fn talk_and_watch(
        &mut self,
        clock: &Clock,
        until: Duration,
        [one, two, three]: [Option<BorrowedFd<'_>>; 3],
    ) -> io::Result<[bool; 3]> {
        let output = (!self.is_flushed()).then(|| self.output.as_fd());
        let [input, output, one, two, three] = sys::poll(
            [
                Watched::Readable(self.input.as_ref().map(File::as_fd)),
                Watched::Writable(output),
                Watched::Readable(one),
                Watched::Readable(two),
                Watched::Readable(three),
            ],
            clock.wait(until),
        )?;
        if input {
            self.receive()?;
        }
        if output {
            self.flush()?;
        }
        Ok([one, two, three])
    }

    fn receive(&mut self) -> io::Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        let mut chunk = [0; CHUNK];
        match input.read(&mut chunk) {
            Ok(0) => self.input = None,
            Ok(count) => self.decoder.push(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

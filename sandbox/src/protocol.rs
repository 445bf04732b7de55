//! The framed protocol between a worker and PID 1 of its job containers, spoken
//! over the container's attached standard input and output.
//!
//! ```text
//! worker -> sandbox   Run, Renew, Terminate, Kill
//! sandbox -> worker   Ready, [Started, {Output | Gap | Note}*], (Exited | Failed)
//!
//! frame: kind u8 | length u32 le | payload | '\n'
//! ```
//! The line feed at the end is there for the engine's log drivers: they hold
//! back what follows the last line feed, and a worker that takes a container
//! back reads its frames from that log.
//!
//! Numbers are little-endian; durations travel as whole milliseconds.

use std::{fmt, io, time::Duration};

/// Both sides must agree on it; a sandbox says it in [`Event::Ready`].
pub const VERSION: u32 = 1;

/// No frame's payload is longer. The longest is a [`Run`] with its script,
/// environment and standard input.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// Output is cut into pieces of at most this many bytes.
pub const MAX_OUTPUT: usize = 64 << 10;

const HEADER: usize = 5;

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The job. Sent once.
    Run(Box<Run>),
    /// The lease lasts for so long from now.
    Renew(Duration),
    /// SIGTERM to the job, and SIGKILL when the grace time has passed.
    Terminate {
        grace: Duration,
    },
    Kill,
}

/// A job, as far as PID 1 needs to know it.
#[derive(Clone, PartialEq, Eq)]
pub struct Run {
    pub script: Vec<u8>,
    /// The whole environment of the job, nothing is added to it.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    pub workdir: Vec<u8>,
    pub stdin: Vec<u8>,
    pub timeout: Duration,
    /// Between SIGTERM and SIGKILL when the timeout has passed.
    pub grace: Duration,
    /// The lease: without a [`Command::Renew`] in time the job is killed.
    pub ttl: Duration,
    /// So many bytes of output are passed on as they come.
    pub log_head: u64,
    /// Of what is more, so many of the last bytes are passed on at the end, after a [`Event::Gap`].
    pub log_tail: u64,
    pub umask: u32,
}

impl fmt::Debug for Run {
    /// Without script, environment and input: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("timeout", &self.timeout)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// What a sandbox says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It can take a job.
    Ready {
        version: u32,
    },
    /// The shell runs.
    Started,
    Output {
        stream: Stream,
        at: Duration,
        bytes: Vec<u8>,
    },
    /// So many bytes of output are left out here.
    Gap {
        at: Duration,
        bytes: u64,
    },
    /// A line for the job's log, for example "timed out after 10s: sent SIGTERM".
    Note {
        at: Duration,
        text: String,
    },
    /// The last frame: the shell has ended, and every process with it.
    Exited(Exit),
    /// The last frame: the shell could not be started, or what the worker sent was
    /// no command. The latter ends a job that runs, so this can come in place of
    /// [`Event::Exited`].
    Failed(String),
}

/// `at` in an [`Event`] is counted from the moment at which the sandbox started (monotonic).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    pub status: Status,
    /// Set when it was this program that ended the job.
    pub killed: Option<Killed>,
    /// Processes that the kernel killed for want of memory, by the container's cgroup.
    pub oom_kills: u32,
    pub cpu: Duration,
    /// From [`Event::Started`] to the end of the shell.
    pub wall: Duration,
    /// In bytes, by the container's cgroup; 0 where it does not tell.
    pub peak_memory: u64,
}

/// How the shell itself ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Code(u8),
    Signal(u8),
}

/// Why the sandbox ended its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    TimedOut,
    /// By [`Command::Terminate`] or [`Command::Kill`].
    Asked,
    /// No [`Command::Renew`] came in time.
    LeaseExpired,
}

/// Why bytes are not a frame. The stream cannot be read on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    UnknownKind(u8),
    TooLong(u32),
    NoLineFeed,
    /// The payload is shorter or longer than its kind says, or not of its form.
    BadPayload(u8),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "there is no frame kind {kind}"),
            Self::TooLong(length) => write!(f, "a frame of {length} bytes is over the limit"),
            Self::NoLineFeed => f.write_str("a frame does not end in a line feed"),
            Self::BadPayload(kind) => {
                write!(f, "a frame of kind {kind} has a payload that cannot be read")
            }
        }
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for io::Error {
    fn from(error: Malformed) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// A message that fits a frame: [`Command`] or [`Event`].
pub trait Message: Sized {
    /// Appends the whole frame to `buffer`.
    fn encode(&self, buffer: &mut Vec<u8>);
    /// Reads the payload of a frame of this kind.
    fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed>;
}

/// Gathers bytes as they arrive and gives back whole messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where the first byte that was not yet given back stands.
    start: usize,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None` until more bytes arrive.
    #[expect(clippy::should_implement_trait, reason = "the caller says which message it expects")]
    pub fn next<M: Message>(&mut self) -> Result<Option<M>, Malformed> {
        let bytes = &self.buffer[self.start..];
        let Some((&[kind, ref length @ ..], rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length);
        if length as usize > MAX_PAYLOAD {
            return Err(Malformed::TooLong(length));
        }
        let Some(&end) = rest.get(length as usize) else {
            return Ok(None);
        };
        if end != b'\n' {
            return Err(Malformed::NoLineFeed);
        }
        let message = M::decode(kind, &rest[..length as usize])?;
        self.start += HEADER + length as usize + 1;
        Ok(Some(message))
    }
}

const RUN: u8 = 1;
const RENEW: u8 = 2;
const TERMINATE: u8 = 3;
const KILL: u8 = 4;

impl Message for Command {
    fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Run(run) => frame(buffer, RUN, |out| {
                put_bytes(out, &run.script);
                put_bytes(out, &run.workdir);
                put_bytes(out, &run.stdin);
                for duration in [run.timeout, run.grace, run.ttl] {
                    put_u64(out, millis(duration));
                }
                put_u64(out, run.log_head);
                put_u64(out, run.log_tail);
                put_u64(out, u64::from(run.umask));
                for (key, value) in &run.env {
                    put_bytes(out, key);
                    put_bytes(out, value);
                }
            }),
            Self::Renew(ttl) => frame(buffer, RENEW, |out| put_u64(out, millis(*ttl))),
            Self::Terminate { grace } => {
                frame(buffer, TERMINATE, |out| put_u64(out, millis(*grace)));
            }
            Self::Kill => frame(buffer, KILL, |_| ()),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input { kind, rest: payload };
        let command = match kind {
            RUN => {
                let (script, workdir, stdin) = (input.bytes()?, input.bytes()?, input.bytes()?);
                let (timeout, grace, ttl) = (input.millis()?, input.millis()?, input.millis()?);
                let (log_head, log_tail) = (input.u64()?, input.u64()?);
                let umask = u32::try_from(input.u64()?).map_err(|_| Malformed::BadPayload(kind))?;
                let mut env = Vec::new();
                while !input.rest.is_empty() {
                    env.push((input.bytes()?, input.bytes()?));
                }
                Self::Run(Box::new(Run {
                    script,
                    env,
                    workdir,
                    stdin,
                    timeout,
                    grace,
                    ttl,
                    log_head,
                    log_tail,
                    umask,
                }))
            }
            RENEW => Self::Renew(input.millis()?),
            TERMINATE => Self::Terminate { grace: input.millis()? },
            KILL => Self::Kill,
            _ => return Err(Malformed::UnknownKind(kind)),
        };
        input.end(command)
    }
}

const READY: u8 = 17;
const STARTED: u8 = 18;
const STDOUT: u8 = 19;
const STDERR: u8 = 20;
const GAP: u8 = 21;
const NOTE: u8 = 22;
const EXITED: u8 = 23;
const FAILED: u8 = 24;

impl Message for Event {
    fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Ready { version } => {
                frame(buffer, READY, |out| put_u64(out, u64::from(*version)));
            }
            Self::Started => frame(buffer, STARTED, |_| ()),
            Self::Output { stream, at, bytes } => encode_output(buffer, *stream, *at, bytes),
            Self::Gap { at, bytes } => frame(buffer, GAP, |out| {
                put_u64(out, micros(*at));
                put_u64(out, *bytes);
            }),
            Self::Note { at, text } => frame(buffer, NOTE, |out| {
                put_u64(out, micros(*at));
                out.extend_from_slice(text.as_bytes());
            }),
            Self::Exited(exit) => frame(buffer, EXITED, |out| {
                let (signalled, number) = match exit.status {
                    Status::Code(code) => (0, code),
                    Status::Signal(signal) => (1, signal),
                };
                let killed = match exit.killed {
                    None => 0,
                    Some(Killed::TimedOut) => 1,
                    Some(Killed::Asked) => 2,
                    Some(Killed::LeaseExpired) => 3,
                };
                out.extend_from_slice(&[signalled, number, killed]);
                put_u64(out, u64::from(exit.oom_kills));
                put_u64(out, micros(exit.cpu));
                put_u64(out, micros(exit.wall));
                put_u64(out, exit.peak_memory);
            }),
            Self::Failed(reason) => {
                frame(buffer, FAILED, |out| out.extend_from_slice(reason.as_bytes()));
            }
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        let bad = Malformed::BadPayload(kind);
        let mut input = Input { kind, rest: payload };
        let event = match kind {
            READY => Self::Ready { version: u32::try_from(input.u64()?).map_err(|_| bad)? },
            STARTED => Self::Started,
            STDOUT | STDERR => {
                let stream = if kind == STDOUT { Stream::Stdout } else { Stream::Stderr };
                Self::Output { stream, at: input.micros()?, bytes: input.take_rest().to_vec() }
            }
            GAP => Self::Gap { at: input.micros()?, bytes: input.u64()? },
            NOTE => Self::Note {
                at: input.micros()?,
                text: String::from_utf8_lossy(input.take_rest()).into_owned(),
            },
            EXITED => {
                let &[signalled, number, killed] = input.array()?;
                Self::Exited(Exit {
                    status: match signalled {
                        0 => Status::Code(number),
                        1 => Status::Signal(number),
                        _ => return Err(bad),
                    },
                    killed: match killed {
                        0 => None,
                        1 => Some(Killed::TimedOut),
                        2 => Some(Killed::Asked),
                        3 => Some(Killed::LeaseExpired),
                        _ => return Err(bad),
                    },
                    oom_kills: u32::try_from(input.u64()?).map_err(|_| bad)?,
                    cpu: input.micros()?,
                    wall: input.micros()?,
                    peak_memory: input.u64()?,
                })
            }
            FAILED => Self::Failed(String::from_utf8_lossy(input.take_rest()).into_owned()),
            _ => return Err(Malformed::UnknownKind(kind)),
        };
        input.end(event)
    }
}

/// [`Event::Output`] without a copy of the bytes: the path that all output takes.
pub fn encode_output(buffer: &mut Vec<u8>, stream: Stream, at: Duration, bytes: &[u8]) {
    let kind = if stream == Stream::Stdout { STDOUT } else { STDERR };
    frame(buffer, kind, |out| {
        put_u64(out, micros(at));
        out.extend_from_slice(bytes);
    });
}

fn frame(buffer: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[kind, 0, 0, 0, 0]);
    write(buffer);
    let length = (buffer.len() - start - HEADER) as u32;
    buffer[start + 1..start + HEADER].copy_from_slice(&length.to_le_bytes());
    buffer.push(b'\n');
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

struct Input<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (array, rest) =
            self.rest.split_first_chunk().ok_or(Malformed::BadPayload(self.kind))?;
        self.rest = rest;
        Ok(array)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn bytes(&mut self) -> Result<Vec<u8>, Malformed> {
        let length = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        let (bytes, rest) =
            self.rest.split_at_checked(length).ok_or(Malformed::BadPayload(self.kind))?;
        self.rest = rest;
        Ok(bytes.to_vec())
    }

    fn millis(&mut self) -> Result<Duration, Malformed> {
        self.u64().map(Duration::from_millis)
    }

    fn micros(&mut self) -> Result<Duration, Malformed> {
        self.u64().map(Duration::from_micros)
    }

    fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn end<M>(self, message: M) -> Result<M, Malformed> {
        if self.rest.is_empty() { Ok(message) } else { Err(Malformed::BadPayload(self.kind)) }
    }
}

#[cfg(test)]
mod tests;

//! What a sandbox says to its worker.

use std::time::Duration;

use super::{
    Attempt, Malformed, Message,
    command::{attempt, put_attempt},
    payload::{Input, frame, micros, put_bytes, put_list, put_u64},
};

/// What a sandbox says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It can take a job.
    Ready(Ready),
    /// It has this job, of which nothing runs yet. Said before anything of it does: where a
    /// container was made ahead of its job, the engine's log says by this whose it has become.
    Taken(Attempt),
    /// The shell runs.
    Started,
    Output {
        stream: Stream,
        at: Duration,
        /// Length of all frames before this one: who has heard less has missed something.
        said: u64,
        bytes: Vec<u8>,
    },
    /// So many bytes of output are left out here.
    Gap { at: Duration, bytes: u64 },
    /// A line for the job's log, for example "timed out after 10s: sent SIGTERM".
    Note { at: Duration, text: String },
    /// What the job did to its working folder; before [`Event::Exited`].
    Changes(Changes),
    /// The wanted files that are there at the end; before [`Event::Exited`].
    Artifacts(Artifacts),
    /// The last frame: the shell has ended, and every process with it.
    Exited(Exit),
    /// The last frame: the shell could not be started, or what the worker sent was
    /// no command. The latter ends a job that runs, so this can come in place of
    /// [`Event::Exited`].
    Failed(String),
}

/// The first word. By `boot` and `since_boot` a worker can tell whether both count time from
/// the boot of one machine; only then a [`Lease`](super::Lease) can have an end that both know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    pub version: u32,
    /// `/proc/sys/kernel/random/boot_id`; empty where it cannot be read.
    pub boot: String,
    /// `CLOCK_BOOTTIME` when this was said. A time namespace shifts it.
    pub since_boot: Duration,
}

/// `at` in an [`Event`] is counted from the moment at which the sandbox started (monotonic).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Paths below the working folder, in order. Whatever bytes a name has, it is told as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub created: Vec<Vec<u8>>,
    pub modified: Vec<Vec<u8>>,
    pub deleted: Vec<Vec<u8>>,
    /// So many more are not told of.
    pub more: u64,
    /// Not everything was looked at: there is too much of it, or it cannot be read.
    pub incomplete: bool,
}

/// Files that fit the patterns, and that the job's user can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Artifacts {
    /// By path.
    pub files: Vec<Artifact>,
    /// So many more are not told of.
    pub more: u64,
    /// So many would fit, and cannot be read.
    pub unread: u64,
    /// As in [`Changes`].
    pub incomplete: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    pub path: Vec<u8>,
    /// How long it was.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    pub status: Status,
    /// Set when it was this program that ended the job.
    pub killed: Option<Killed>,
    /// Processes that the kernel killed for want of memory, by the container's
    /// cgroup; `None` where it does not tell.
    pub oom_kills: Option<u32>,
    pub cpu: Duration,
    /// From [`Event::Started`] to the end of the shell.
    pub wall: Duration,
    /// In bytes, by the container's cgroup; 0 where it does not tell.
    pub peak_memory: u64,
    /// By the container's cgroup; `None` where it does not tell.
    pub throttled: Option<Throttled>,
    /// As in [`Event::Output`].
    pub said: u64,
}

/// How the job was held back when it had used up its share of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    pub times: u64,
    pub time: Duration,
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

const READY: u8 = 17;
const STARTED: u8 = 18;
const STDOUT: u8 = 19;
const STDERR: u8 = 20;
const GAP: u8 = 21;
const NOTE: u8 = 22;
const EXITED: u8 = 23;
const FAILED: u8 = 24;
const CHANGES: u8 = 25;
const ARTIFACTS: u8 = 26;
const TAKEN: u8 = 27;

/// Stands for a number that is not known.
const UNTOLD: u64 = u64::MAX;

impl Message for Event {
    fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Ready(Ready { version, boot, since_boot }) => frame(buffer, READY, |out| {
                // First for ever: who does not know the rest can still tell why.
                put_u64(out, u64::from(*version));
                put_u64(out, micros(*since_boot));
                out.extend_from_slice(boot.as_bytes());
            }),
            Self::Taken(attempt) => frame(buffer, TAKEN, |out| put_attempt(out, *attempt)),
            Self::Started => frame(buffer, STARTED, |_| ()),
            Self::Output { stream, at, said, bytes } => {
                encode_output(buffer, *stream, *at, *said, bytes);
            }
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
                put_u64(out, exit.oom_kills.map_or(UNTOLD, u64::from));
                put_u64(out, micros(exit.cpu));
                put_u64(out, micros(exit.wall));
                put_u64(out, exit.peak_memory);
                put_u64(out, exit.throttled.map_or(UNTOLD, |it| it.times));
                put_u64(out, exit.throttled.map_or(0, |it| micros(it.time)));
                put_u64(out, exit.said);
            }),
            Self::Changes(changes) => frame(buffer, CHANGES, |out| {
                out.push(changes.incomplete.into());
                put_u64(out, changes.more);
                for list in [&changes.created, &changes.modified, &changes.deleted] {
                    put_list(out, list);
                }
            }),
            Self::Artifacts(artifacts) => frame(buffer, ARTIFACTS, |out| {
                out.push(artifacts.incomplete.into());
                put_u64(out, artifacts.more);
                put_u64(out, artifacts.unread);
                for file in &artifacts.files {
                    put_u64(out, file.bytes);
                    put_bytes(out, &file.path);
                }
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
            READY => Self::Ready(Ready {
                version: u32::try_from(input.u64()?).map_err(|_| bad)?,
                since_boot: input.micros()?,
                boot: String::from_utf8_lossy(input.take_rest()).into_owned(),
            }),
            TAKEN => Self::Taken(attempt(&mut input)?),
            STARTED => Self::Started,
            STDOUT | STDERR => {
                let stream = if kind == STDOUT { Stream::Stdout } else { Stream::Stderr };
                let (at, said) = (input.micros()?, input.u64()?);
                Self::Output { stream, at, said, bytes: input.take_rest().to_vec() }
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
                    oom_kills: match input.u64()? {
                        UNTOLD => None,
                        kills => Some(u32::try_from(kills).map_err(|_| bad)?),
                    },
                    cpu: input.micros()?,
                    wall: input.micros()?,
                    peak_memory: input.u64()?,
                    throttled: {
                        let (times, time) = (input.u64()?, input.micros()?);
                        (times != UNTOLD).then_some(Throttled { times, time })
                    },
                    said: input.u64()?,
                })
            }
            CHANGES => Self::Changes(Changes {
                incomplete: input.flag()?,
                more: input.u64()?,
                created: input.list()?,
                modified: input.list()?,
                deleted: input.list()?,
            }),
            ARTIFACTS => {
                let incomplete = input.flag()?;
                let (more, unread, mut files) = (input.u64()?, input.u64()?, Vec::new());
                while !input.rest.is_empty() {
                    files.push(Artifact { bytes: input.u64()?, path: input.bytes()? });
                }
                Self::Artifacts(Artifacts { files, more, unread, incomplete })
            }
            FAILED => Self::Failed(String::from_utf8_lossy(input.take_rest()).into_owned()),
            _ => return Err(Malformed::UnknownKind(kind)),
        };
        input.end(event)
    }
}

/// [`Event::Output`] without a copy of the bytes: the path that all output takes.
pub fn encode_output(buffer: &mut Vec<u8>, stream: Stream, at: Duration, said: u64, bytes: &[u8]) {
    let kind = if stream == Stream::Stdout { STDOUT } else { STDERR };
    frame(buffer, kind, |out| {
        put_u64(out, micros(at));
        put_u64(out, said);
        out.extend_from_slice(bytes);
    });
}

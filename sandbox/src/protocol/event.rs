//! Messages from a sandbox to its worker.

use std::time::Duration;

use super::{
    Attempt, Malformed, Message,
    command::{attempt, put_attempt},
    payload::{Input, frame, micros, put_bytes, put_list, put_u64},
};

/// A message from a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The sandbox can take a job.
    Ready(Ready),
    /// The sandbox has accepted this attempt. It is sent before any process of the job starts. For
    /// a container that was made ahead of its job, this entry in the engine's log tells to which
    /// attempt it belongs.
    Taken(Attempt),
    /// The shell has started.
    Started,
    Output {
        stream: Stream,
        at: Duration,
        /// Total length of all frames before this one. A reader that has received less has missed
        /// something.
        said: u64,
        bytes: Vec<u8>,
    },
    /// The number of output bytes that were dropped here.
    Gap { at: Duration, bytes: u64 },
    /// A line for the job's log, for example "timed out after 10s: sent SIGTERM".
    Note { at: Duration, text: String },
    /// How the job changed its working folder; sent before [`Event::Exited`].
    Changes(Changes),
    /// The artifacts that exist at the end; sent before [`Event::Exited`].
    Artifacts(Artifacts),
    /// The last frame: the shell and every other process have ended.
    Exited(Exit),
    /// The last frame: the shell could not be started, or the worker sent an invalid command. The
    /// latter ends a running job, so this can come in place of [`Event::Exited`].
    Failed(String),
}

/// The first message. From `boot` and `since_boot` a worker can tell whether both sides count time
/// from the boot of the same machine. Only then can a [`Lease`](super::Lease) have an end that both
/// know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    pub version: u32,
    /// `/proc/sys/kernel/random/boot_id`; empty if it cannot be read.
    pub boot: String,
    /// `CLOCK_BOOTTIME` at the time of the message. A time namespace shifts it.
    pub since_boot: Duration,
}

/// The output stream of a job.
///
/// `at` in an [`Event`] counts from the start of the sandbox, on a monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Sorted paths relative to the working folder, with names as raw bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub created: Vec<Vec<u8>>,
    pub modified: Vec<Vec<u8>>,
    pub deleted: Vec<Vec<u8>>,
    /// The number of further changes that are not reported.
    pub more: u64,
    /// Not everything was checked, because there is too much or it cannot be read.
    pub incomplete: bool,
}

/// Files that match the patterns and that the job's user can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Artifacts {
    /// Sorted by path.
    pub files: Vec<Artifact>,
    /// The number of further files that are not reported.
    pub more: u64,
    /// The number of files that match but cannot be read.
    pub unread: u64,
    /// As in [`Changes`].
    pub incomplete: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    pub path: Vec<u8>,
    /// The length when it was found, in bytes.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    pub status: Status,
    /// Set if this program ended the job.
    pub killed: Option<Killed>,
    /// The number of processes that the kernel's OOM killer killed, from the container's cgroup;
    /// `None` if the kernel does not report it.
    pub oom_kills: Option<u32>,
    pub cpu: Duration,
    /// From [`Event::Started`] to the end of the shell.
    pub wall: Duration,
    /// Peak memory in bytes, from the container's cgroup; 0 if the kernel does not report it.
    pub peak_memory: u64,
    /// From the container's cgroup; `None` if the kernel does not report it.
    pub throttled: Option<Throttled>,
    /// As in [`Event::Output`].
    pub said: u64,
}

/// How often and how long the job was throttled after it had used up its CPU quota.
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
    /// By [`Command::Terminate`](super::Command::Terminate) or
    /// [`Command::Kill`](super::Command::Kill).
    Asked,
    /// No [`Command::Renew`](super::Command::Renew) came in time.
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

/// Encodes an unknown number.
const UNTOLD: u64 = u64::MAX;

impl Message for Event {
    fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Ready(Ready { version, boot, since_boot }) => frame(buffer, READY, |out| {
                // The version always comes first: a reader that knows nothing else can still
                // explain the mismatch.
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

/// Encodes [`Event::Output`] without copying the bytes. All output takes this path.
pub fn encode_output(buffer: &mut Vec<u8>, stream: Stream, at: Duration, said: u64, bytes: &[u8]) {
    let kind = if stream == Stream::Stdout { STDOUT } else { STDERR };
    frame(buffer, kind, |out| {
        put_u64(out, micros(at));
        put_u64(out, said);
        out.extend_from_slice(bytes);
    });
}

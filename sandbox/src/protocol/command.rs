//! Messages from a worker to a sandbox.

use std::{fmt, time::Duration};

use super::{
    Malformed, Message,
    payload::{Input, frame, millis, put_bytes, put_list, put_u64},
};

/// A message from a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The job. Sent once.
    Run(Box<Run>),
    /// A file for the working folder of the job. The shell starts when all [`Run::files`] have
    /// arrived.
    File(File),
    /// Renews the lease.
    Renew(Lease),
    /// Sends SIGTERM to the job, and SIGKILL after the grace time.
    Terminate {
        grace: Duration,
    },
    Kill,
}

/// How long a sandbox may continue without a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Counted from the moment at which the sandbox reads the message.
    pub ttl: Duration,
    /// An upper bound for the end, on the clock that counts from the machine's boot, so that a
    /// delayed message does not extend the lease. Only for a sandbox on the worker's own machine;
    /// see [`Ready`](super::Ready).
    pub until: Option<Duration>,
}

impl Lease {
    /// A lease that only the sandbox's own clock bounds.
    pub const fn of(ttl: Duration) -> Self {
        Self { ttl, until: None }
    }
}

/// The attempt that a job belongs to. The sandbox only repeats it; see
/// [`Event::Taken`](super::Event::Taken).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub job: i64,
    pub number: u32,
}

/// A file that is in the working folder when the command starts, or a piece of one. The pieces of a
/// file are sent one after the other, each with the same metadata.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the working folder.
    pub path: Vec<u8>,
    pub executable: bool,
    /// Whether another piece of this file follows.
    pub more: bool,
    pub bytes: Vec<u8>,
}

impl fmt::Debug for File {
    /// Omits the content, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({}, {} bytes)", self.path.escape_ascii(), self.bytes.len())
    }
}

/// A job, as far as PID 1 needs to know it.
#[derive(Clone, PartialEq, Eq)]
pub struct Run {
    pub attempt: Attempt,
    pub script: Vec<u8>,
    /// The complete environment of the job; nothing is added to it.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    pub workdir: Vec<u8>,
    pub stdin: Vec<u8>,
    pub timeout: Duration,
    /// The time between SIGTERM and SIGKILL when the timeout has passed.
    pub grace: Duration,
    /// The job is killed when this ends without a [`Command::Renew`].
    pub lease: Lease,
    /// The number of output bytes that are forwarded as they come.
    pub log_head: u64,
    /// The number of last bytes after the head that are forwarded at the end, after an
    /// [`Event::Gap`](super::Event::Gap).
    pub log_tail: u64,
    pub umask: u32,
    /// The number of files that follow.
    pub files: u64,
    /// Byte strings that no output may show: the job's secrets and their encodings, each of at
    /// least eight bytes.
    pub masks: Vec<Vec<u8>>,
    /// The most changed files to report, see [`Event::Changes`]; with 0, changes are not looked
    /// for.
    ///
    /// [`Event::Changes`]: super::Event::Changes
    pub change_limit: u64,
    /// The most artifacts to report, see [`Event::Artifacts`].
    ///
    /// [`Event::Artifacts`]: super::Event::Artifacts
    pub artifact_limit: u64,
    /// Patterns of the files to report at the end; if empty, none are looked for.
    pub artifacts: Vec<Vec<u8>>,
}

impl fmt::Debug for Run {
    /// Omits script, environment and input, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("timeout", &self.timeout)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// Encodes a lease without [`Lease::until`].
const UNBOUND: u64 = u64::MAX;

fn put_lease(out: &mut Vec<u8>, lease: Lease) {
    put_u64(out, millis(lease.ttl));
    put_u64(out, lease.until.map_or(UNBOUND, millis));
}

fn lease(input: &mut Input<'_>) -> Result<Lease, Malformed> {
    let (ttl, until) = (input.millis()?, input.u64()?);
    Ok(Lease { ttl, until: (until != UNBOUND).then(|| Duration::from_millis(until)) })
}

pub(super) fn put_attempt(out: &mut Vec<u8>, attempt: Attempt) {
    put_u64(out, attempt.job.cast_unsigned());
    put_u64(out, attempt.number.into());
}

pub(super) fn attempt(input: &mut Input<'_>) -> Result<Attempt, Malformed> {
    let (job, number) = (input.u64()?.cast_signed(), input.u64()?);
    let number = u32::try_from(number).map_err(|_| Malformed::BadPayload(input.kind))?;
    Ok(Attempt { job, number })
}

pub(super) const RUN: u8 = 1;
pub(super) const RENEW: u8 = 2;
const TERMINATE: u8 = 3;
pub(super) const KILL: u8 = 4;
pub(super) const FILE: u8 = 5;

impl Message for Command {
    fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Run(run) => frame(buffer, RUN, |out| {
                put_attempt(out, run.attempt);
                put_bytes(out, &run.script);
                put_bytes(out, &run.workdir);
                put_bytes(out, &run.stdin);
                for duration in [run.timeout, run.grace] {
                    put_u64(out, millis(duration));
                }
                put_lease(out, run.lease);
                put_u64(out, run.log_head);
                put_u64(out, run.log_tail);
                put_u64(out, u64::from(run.umask));
                put_u64(out, run.files);
                put_list(out, &run.masks);
                put_u64(out, run.change_limit);
                put_u64(out, run.artifact_limit);
                put_list(out, &run.artifacts);
                for (key, value) in &run.env {
                    put_bytes(out, key);
                    put_bytes(out, value);
                }
            }),
            Self::Renew(lease) => frame(buffer, RENEW, |out| put_lease(out, *lease)),
            Self::Terminate { grace } => {
                frame(buffer, TERMINATE, |out| put_u64(out, millis(*grace)));
            }
            Self::Kill => frame(buffer, KILL, |_| ()),
            Self::File(file) => frame(buffer, FILE, |out| {
                put_bytes(out, &file.path);
                out.push(file.executable.into());
                out.push(file.more.into());
                out.extend_from_slice(&file.bytes);
            }),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input { kind, rest: payload };
        let command = match kind {
            RUN => {
                let attempt = attempt(&mut input)?;
                let (script, workdir, stdin) = (input.bytes()?, input.bytes()?, input.bytes()?);
                let (timeout, grace) = (input.millis()?, input.millis()?);
                let lease = lease(&mut input)?;
                let (log_head, log_tail) = (input.u64()?, input.u64()?);
                let umask = u32::try_from(input.u64()?).map_err(|_| Malformed::BadPayload(kind))?;
                let files = input.u64()?;
                let masks = input.list()?;
                let (change_limit, artifact_limit) = (input.u64()?, input.u64()?);
                let artifacts = input.list()?;
                let mut env = Vec::new();
                while !input.rest.is_empty() {
                    env.push((input.bytes()?, input.bytes()?));
                }
                Self::Run(Box::new(Run {
                    attempt,
                    script,
                    env,
                    workdir,
                    stdin,
                    timeout,
                    grace,
                    lease,
                    log_head,
                    log_tail,
                    umask,
                    files,
                    masks,
                    change_limit,
                    artifact_limit,
                    artifacts,
                }))
            }
            RENEW => Self::Renew(lease(&mut input)?),
            TERMINATE => Self::Terminate { grace: input.millis()? },
            KILL => Self::Kill,
            FILE => Self::File(File {
                path: input.bytes()?,
                executable: input.flag()?,
                more: input.flag()?,
                bytes: input.take_rest().to_vec(),
            }),
            _ => return Err(Malformed::UnknownKind(kind)),
        };
        input.end(command)
    }
}

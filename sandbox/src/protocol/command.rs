//! What a worker says to a sandbox.

use std::{fmt, time::Duration};

use super::{
    Malformed, Message,
    payload::{Input, frame, millis, put_bytes, put_list, put_u64},
};

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The job. Sent once.
    Run(Box<Run>),
    /// Belongs into the working folder of the job that was sent. Its shell starts when all
    /// [`Run::files`] are there.
    File(File),
    /// The lease goes on.
    Renew(Lease),
    /// SIGTERM to the job, and SIGKILL when the grace time has passed.
    Terminate {
        grace: Duration,
    },
    Kill,
}

/// For how long a sandbox may go on without another word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// From the moment at which the sandbox reads it.
    pub ttl: Duration,
    /// And no longer than until then, by the clock that counts from the machine's boot:
    /// what was held up on its way lengthens nothing. Only for a sandbox of the worker's own
    /// machine, see [`Ready`](super::Ready).
    pub until: Option<Duration>,
}

impl Lease {
    /// Counted by the sandbox alone.
    pub const fn of(ttl: Duration) -> Self {
        Self { ttl, until: None }
    }
}

/// Whose a job is. The sandbox only says it again, see [`Event::Taken`](super::Event::Taken).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub job: i64,
    pub number: u32,
}

/// A file that stands in the working folder when the command begins, or a piece of one: the
/// pieces of a file follow each other, and each says the same of it.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Below the working folder.
    pub path: Vec<u8>,
    pub executable: bool,
    /// Whether another piece of it follows.
    pub more: bool,
    pub bytes: Vec<u8>,
}

impl fmt::Debug for File {
    /// Without its content: it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({}, {} bytes)", self.path.escape_ascii(), self.bytes.len())
    }
}

/// A job, as far as PID 1 needs to know it.
#[derive(Clone, PartialEq, Eq)]
pub struct Run {
    pub attempt: Attempt,
    pub script: Vec<u8>,
    /// The whole environment of the job, nothing is added to it.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    pub workdir: Vec<u8>,
    pub stdin: Vec<u8>,
    pub timeout: Duration,
    /// Between SIGTERM and SIGKILL when the timeout has passed.
    pub grace: Duration,
    /// Without a [`Command::Renew`] in time the job is killed.
    pub lease: Lease,
    /// So many bytes of output are passed on as they come.
    pub log_head: u64,
    /// Of what is more, so many of the last bytes are passed on at the end, after a [`Event::Gap`].
    pub log_tail: u64,
    pub umask: u32,
    /// So many files follow.
    pub files: u64,
    /// What no output may show: the job's secrets and their encodings, of eight bytes at least.
    pub masks: Vec<Vec<u8>>,
    /// So many changed files are told of, see [`Event::Changes`]; with 0 nobody looks for them.
    ///
    /// [`Event::Changes`]: super::Event::Changes
    pub change_limit: u64,
    /// So many files are told of, see [`Event::Artifacts`].
    ///
    /// [`Event::Artifacts`]: super::Event::Artifacts
    pub artifact_limit: u64,
    /// Patterns of the files that are wanted at the end; with none nobody looks for them.
    pub artifacts: Vec<Vec<u8>>,
}

impl fmt::Debug for Run {
    /// Without script, environment and input: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("timeout", &self.timeout)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// Stands for a lease without [`Lease::until`].
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

//! What a worker says to a sandbox.

use std::{fmt, time::Duration};

use super::{
    Malformed, Message,
    payload::{Input, frame, millis, put_bytes, put_u64},
};

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

pub(super) const RUN: u8 = 1;
pub(super) const RENEW: u8 = 2;
const TERMINATE: u8 = 3;
pub(super) const KILL: u8 = 4;

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

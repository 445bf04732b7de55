//! The state of the fake master, and how calls change it.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use orchestra_client::ClientError;
use orchestra_contracts::{
    JobStatus, ProblemKind,
    frame::{Body, Frames, Stream},
    worker::{
        ArtifactHead, Check, Claimed, HeartbeatReply, JobUpdate, LeaseRef, LogHead, LogRest,
        Registration,
    },
};

use super::{
    Append,
    refusals::{problem, unanswered, with_head},
};

#[derive(Default)]
pub(super) struct State {
    pub(super) script: VecDeque<Append>,
    pub(super) log: BytesMut,
    /// The content of every upload.
    pub(super) upload: Vec<u8>,
    pub(super) requests: Vec<usize>,
    /// What happens to pieces of files.
    pub(super) piece_script: VecDeque<Append>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) pieces: Vec<(String, u64, usize)>,
    pub(super) jobs: VecDeque<Claimed>,
    /// The jobs that it believes the worker holds.
    pub(super) held: Vec<Claimed>,
    /// The leases of each heartbeat, in order.
    pub(super) beats: Vec<Vec<LeaseRef>>,
    /// What the last of them said about the worker.
    pub(super) unwell: Option<String>,
    pub(super) checks: Vec<Check>,
    /// The time of its clock.
    pub(super) date: Option<Timestamp>,
    /// Request ids of claims, in order.
    pub(super) claims: Vec<(String, u32)>,
    pub(super) lost_claims: u32,
    /// The jobs that claims in reports brought, by request id.
    pub(super) brought: BTreeMap<String, Vec<Claimed>>,
    pub(super) lost_reports: u32,
    /// Whether it ignores everything that a report carries along.
    pub(super) is_old: bool,
    pub(super) updates: Vec<JobUpdate>,
    pub(super) registrations: Vec<Registration>,
    pub(super) reply: HeartbeatReply,
    /// How often the answer to heartbeats has changed.
    pub(super) orders: u64,
    /// Whether it answers nothing but claims.
    pub(super) silent: bool,
    /// Updates to this status get no answer.
    pub(super) deaf_to: Option<JobStatus>,
}

impl State {
    pub(super) fn append(&mut self, offset: u64, frames: &Bytes) -> LogHead {
        let known = (self.log.len() as u64 - offset) as usize;
        self.log.extend_from_slice(frames.get(known..).unwrap_or_default());
        self.head()
    }

    /// Behaves like a master that supports everything a report carries along, or nothing of it.
    pub(super) fn update(&mut self, update: &JobUpdate) -> Result<Vec<Claimed>, ClientError> {
        self.updates.push(update.clone());
        if let (false, Some(LogRest(rest)), Some(log)) = (self.is_old, &update.rest, update.log) {
            self.append(log.offset - rest.len() as u64, rest);
        }
        let head = self.head();
        if update.log.is_some_and(|log| log.offset > head.offset) {
            return Err(with_head(ProblemKind::LogIncomplete, head));
        }
        let Some(claim) = update.claim.as_ref().filter(|_| !self.is_old) else {
            return Ok(Vec::new());
        };
        let request = claim.request_id.clone().unwrap();
        let slots = self.jobs.len().min(claim.slots as usize);
        let jobs = self.jobs.drain(..slots).collect();
        let jobs = self.brought.entry(request).or_insert(jobs).clone();
        if self.lost_reports > 0 {
            self.lost_reports -= 1;
            return Err(unanswered());
        }
        Ok(jobs)
    }

    pub(super) fn append_piece(
        &mut self,
        path: &str,
        at: u64,
        piece: &[u8],
    ) -> Result<u64, ClientError> {
        let file = self.files.entry(path.to_owned()).or_default();
        let stored = file.len() as u64;
        if at > stored {
            let ClientError::Refused(mut refusal) = problem(ProblemKind::ArtifactOffset, 409)
            else {
                unreachable!("problems are refusals")
            };
            refusal.artifact = Some(ArtifactHead { offset: stored });
            return Err(ClientError::Refused(refusal));
        }
        let known = (stored - at) as usize;
        file.extend_from_slice(piece.get(known..).unwrap_or_default());
        Ok(file.len() as u64)
    }

    pub(super) fn head(&self) -> LogHead {
        let mut head = LogHead { offset: self.log.len() as u64, ..LogHead::default() };
        let mut crc32 = crc32fast::Hasher::new();
        for frame in Frames::new(self.log.clone().freeze()) {
            match frame.unwrap().body {
                Body::Bytes(Stream::System, _) => (),
                Body::Bytes(_, bytes) => {
                    head.output += bytes.len() as u64;
                    crc32.update(&bytes);
                }
                Body::Gap(bytes) => head.gap += bytes,
            }
        }
        head.crc32 = crc32.finalize();
        head
    }
}

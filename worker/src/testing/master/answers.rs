//! Answers a worker's calls as the test has scripted them.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use orchestra_client::ClientError;
use orchestra_contracts::{
    ContentHash, ProblemKind, Span, WorkerName,
    frame::Frames,
    worker::{
        ArtifactHead, ClaimTerms, Claimed, Heartbeat, HeartbeatReply, JobUpdate, LeaseRef, LogHead,
        Registration, Welcome,
    },
};

use super::{
    Append, FakeMaster,
    refusals::{misplaced, problem, unanswered},
};
use crate::master::Master;

fn first_frame(frames: &Bytes) -> Bytes {
    let first = Frames::new(frames.clone()).next().unwrap().unwrap();
    frames.slice(..first.encoded_len())
}

#[async_trait]
impl Master for FakeMaster {
    async fn register(
        &self,
        _: &WorkerName,
        registration: &Registration,
    ) -> Result<Welcome, ClientError> {
        self.check_silence()?;
        let mut state = self.state.lock().unwrap();
        state.registrations.push(registration.clone());
        let held = state.held.clone();
        Ok(Welcome { lease: Span::from_secs(60), heartbeat: Span::from_secs(15), held })
    }

    async fn claim(&self, terms: &ClaimTerms) -> Result<Vec<Claimed>, ClientError> {
        let id = terms.request_id.clone().unwrap();
        self.state.lock().unwrap().claims.push((id, terms.slots));
        let waiting = tokio::time::sleep(terms.wait.0);
        tokio::pin!(waiting);
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state.lock().unwrap();
                let request = terms.request_id.as_deref().unwrap_or_default();
                if let Some(jobs) = state.brought.get(request).filter(|jobs| !jobs.is_empty()) {
                    return Ok(jobs.clone());
                }
                if !state.jobs.is_empty() {
                    if state.lost_claims > 0 {
                        state.lost_claims -= 1;
                        return Err(unanswered());
                    }
                    let count = state.jobs.len().min(terms.slots as usize);
                    return Ok(state.jobs.drain(..count).collect());
                }
            }
            tokio::select! {
                () = changed => (),
                () = &mut waiting => return Ok(Vec::new()),
            }
        }
    }

    async fn upload_piece(
        &self,
        _: &ContentHash,
        offset: u64,
        length: u64,
    ) -> Result<(Bytes, u64), ClientError> {
        self.check_silence()?;
        let state = self.state.lock().unwrap();
        let rest = state
            .upload
            .get(offset as usize..)
            .ok_or_else(|| problem(ProblemKind::NotFound, 404))?;
        let piece = &rest[..rest.len().min(length as usize)];
        Ok((Bytes::copy_from_slice(piece), state.upload.len() as u64))
    }

    async fn heartbeat(
        &self,
        _: &WorkerName,
        beat: &Heartbeat,
    ) -> Result<HeartbeatReply, ClientError> {
        self.check_silence()?;
        let mut state = self.state.lock().unwrap();
        state.beats.push(beat.leases.clone());
        state.unwell.clone_from(&beat.unwell);
        state.checks = beat.stats.as_ref().map(|stats| stats.checks.clone()).unwrap_or_default();
        Ok(state.reply.clone())
    }

    async fn orders(
        &self,
        _: &WorkerName,
        known: Option<u64>,
        wait: Duration,
    ) -> Result<u64, ClientError> {
        let waiting = tokio::time::sleep(wait);
        tokio::pin!(waiting);
        loop {
            let changed = self.changed.notified();
            self.check_silence()?;
            let orders = self.state.lock().unwrap().orders;
            if known != Some(orders) {
                return Ok(orders);
            }
            tokio::select! {
                () = changed => (),
                () = &mut waiting => return Ok(orders),
            }
        }
    }

    async fn append_log(
        &self,
        _: &WorkerName,
        _: &LeaseRef,
        offset: u64,
        frames: Bytes,
    ) -> Result<LogHead, ClientError> {
        tokio::task::yield_now().await;
        self.check_silence()?;
        let mut state = self.state.lock().unwrap();
        if frames.is_empty() {
            return Ok(state.head());
        }
        state.requests.push(frames.len());
        match state.script.pop_front().unwrap_or(Append::Store) {
            Append::Store => Ok(state.append(offset, &frames)),
            Append::LoseRequest => Err(unanswered()),
            Append::LoseAnswer => {
                state.append(offset, &frames);
                Err(unanswered())
            }
            Append::StoreFirstFrame => Ok(state.append(offset, &first_frame(&frames))),
            Append::StoreFirstFrameAndComplain => {
                Err(misplaced(state.append(offset, &first_frame(&frames))))
            }
            Append::Unwell => Err(problem(ProblemKind::Unavailable, 503)),
            Append::LeaseLost => Err(problem(ProblemKind::LeaseLost, 409)),
            Append::AnswerOffset(offset) => Ok(LogHead { offset, ..LogHead::default() }),
            Append::ForgetAndComplain | Append::TooLarge => unreachable!("logs have no such fate"),
        }
    }

    async fn append_artifact(
        &self,
        _: &WorkerName,
        _: &LeaseRef,
        path: &str,
        offset: u64,
        piece: Bytes,
    ) -> Result<ArtifactHead, ClientError> {
        tokio::task::yield_now().await;
        self.check_silence()?;
        let mut state = self.state.lock().unwrap();
        state.pieces.push((path.to_owned(), offset, piece.len()));
        let stored = match state.piece_script.pop_front().unwrap_or(Append::Store) {
            Append::Store => state.append_piece(path, offset, &piece)?,
            Append::LoseRequest => return Err(unanswered()),
            Append::LoseAnswer => {
                state.append_piece(path, offset, &piece)?;
                return Err(unanswered());
            }
            Append::StoreFirstFrame | Append::StoreFirstFrameAndComplain => {
                let half = piece.len().div_ceil(2);
                state.append_piece(path, offset, &piece[..half])?
            }
            Append::ForgetAndComplain => {
                state.files.remove(path);
                state.append_piece(path, offset, &piece)?
            }
            Append::Unwell => return Err(problem(ProblemKind::Unavailable, 503)),
            Append::LeaseLost => return Err(problem(ProblemKind::LeaseLost, 409)),
            Append::TooLarge => return Err(problem(ProblemKind::TooLarge, 413)),
            Append::AnswerOffset(offset) => offset,
        };
        Ok(ArtifactHead { offset: stored })
    }

    async fn update(&self, update: &JobUpdate) -> Result<Vec<Claimed>, ClientError> {
        tokio::task::yield_now().await;
        self.check_silence()?;
        if self.state.lock().unwrap().deaf_to == Some(update.status) {
            return Err(unanswered());
        }
        let answer = self.state.lock().unwrap().update(update);
        self.changed.notify_waiters();
        answer
    }

    async fn date(&self) -> Result<Timestamp, ClientError> {
        self.state.lock().unwrap().date.ok_or_else(unanswered)
    }
}

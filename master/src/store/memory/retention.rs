//! Prunes what jobs that have ended leave.

use bytes::BytesMut;
use jiff::Timestamp;
use orchestra_contracts::{
    JobId,
    frame::{Body, Frame},
    worker::LogHead,
};

use super::tables::{Entry, Kept, Tables};
use crate::store::{
    LogChunk,
    retention::{BATCH_BYTES, Bounds, Part},
};

impl Tables {
    pub(super) fn prunable(&self, part: Part, bounds: Bounds, limit: usize) -> Vec<JobId> {
        let ended = self.jobs.values().filter(|entry| entry.job.status().is_final());
        let mut ended: Vec<(Timestamp, &Entry)> =
            ended.filter_map(|entry| Some((entry.job.finish()?.finished_at, entry))).collect();
        ended.sort_by_key(|(at, entry)| (*at, entry.job.id));
        let mut kept = 0;
        let mut stays = |(at, entry): &(Timestamp, &Entry)| {
            kept += if part == Part::Jobs { 1 } else { entry.bytes(part) };
            bounds.until.is_none_or(|until| *at >= until)
                && bounds.most.is_none_or(|most| kept <= most)
        };
        let stay = ended.iter().rev().take_while(|one| stays(one)).count();
        ended.truncate(ended.len() - stay);
        let mut bytes = 0;
        ended
            .into_iter()
            .map(|(_, entry)| entry)
            .filter(|entry| part == Part::Jobs || entry.has(part))
            .take(limit)
            .take_while(|entry| {
                let before = bytes;
                bytes += entry.bytes(part);
                before == 0 || bytes <= BATCH_BYTES
            })
            .map(|entry| entry.job.id)
            .collect()
    }

    pub(super) fn prune(&mut self, part: Part, jobs: &[JobId], now: Timestamp) -> u64 {
        let mut count = 0;
        for id in jobs {
            let Some(entry) = self.jobs.get_mut(id).filter(|entry| entry.job.status().is_final())
            else {
                continue;
            };
            count += 1;
            match part {
                Part::Jobs => drop(self.jobs.remove(id)),
                Part::Logs => {
                    entry.attempts.iter_mut().for_each(|kept| kept.drop_log(now));
                    if let Some(kept) = entry.attempts.last() {
                        entry.job.log = kept.head;
                    }
                }
                Part::Artifacts => {
                    entry.attempts.iter_mut().for_each(|kept| kept.files.drop_all());
                }
            }
        }
        count
    }
}

impl Entry {
    fn bytes(&self, part: Part) -> u64 {
        let logs = |kept: &Kept| kept.head.output;
        let files = |kept: &Kept| kept.files.bytes();
        let of = |kept: &Kept| match part {
            Part::Jobs => logs(kept) + files(kept),
            Part::Logs => logs(kept),
            Part::Artifacts => files(kept),
        };
        self.attempts.iter().map(of).sum()
    }

    fn has(&self, part: Part) -> bool {
        self.attempts.iter().any(|kept| match part {
            Part::Artifacts => !kept.files.is_empty(),
            Part::Jobs | Part::Logs => kept.head.output > 0,
        })
    }
}

impl Kept {
    fn drop_log(&mut self, now: Timestamp) {
        if self.head.output == 0 {
            return;
        }
        let time = u64::try_from(now.as_microsecond()).unwrap_or_default();
        let gap = self.head.output + self.head.gap;
        let mut frames = BytesMut::new();
        Frame { time, body: Body::Gap(gap) }.encode(&mut frames);
        let frames = frames.freeze();
        self.head = LogHead { offset: frames.len() as u64, output: 0, gap, crc32: 0 };
        self.chunks = vec![LogChunk { offset: 0, stdout: 0, stderr: 0, system: 0, frames }];
    }
}

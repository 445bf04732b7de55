//! The files that an attempt leaves, on their way to the master: one after the other, each
//! read once and sent in pieces, every byte of it exactly once.
//!
//! Like the log's upload it never gives up on a master that does not answer: that is for the
//! lease to decide. A file that cannot be kept is left out, and the job's log says why.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use orchestra_client::{Backoff, ClientError};
use orchestra_contracts::{
    ProblemKind, WorkerName,
    files::Artifact,
    worker::{ARTIFACT_PIECE, LeaseRef},
};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use crate::{
    clock,
    executor::{
        leavings::{Leavings, ReadError},
        line_at,
    },
    master::{Link, Master, is_lease_lost},
    outbox::Outbox,
};

/// So often a file is read from its beginning.
const READS: u32 = 4;
/// So long for an engine that does not answer.
const AWAY: Duration = Duration::from_mins(2);
/// So many are named that are left out.
const NAMED: usize = 20;

type Hash = sha2::digest::Output<Sha256>;

/// The attempt is not ours any more.
#[derive(Debug)]
pub(crate) struct LeaseLost;

/// Brings the files of one attempt.
pub(crate) struct Courier<'a> {
    pub(crate) master: &'a dyn Master,
    pub(crate) link: &'a Link,
    pub(crate) worker: &'a WorkerName,
    pub(crate) lease: &'a LeaseRef,
    pub(crate) log: &'a Outbox,
}

/// Why one reading of a file brought nothing to keep.
enum Fault {
    LeaseLost,
    /// For good; a phrase for the log.
    LeftOut(String),
    /// It may be otherwise from the beginning.
    Again(String),
    /// The same, when its engine answers again.
    Away(String),
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Away(reason) => Self::Away(reason),
            ReadError::Broken(reason) => Self::Again(reason),
            ReadError::Unfit(reason) => Self::LeftOut(reason),
        }
    }
}

/// What the master is known to have of a file.
#[derive(Default)]
struct Stored {
    /// From there on it wants more; `None` before its first answer.
    offset: Option<u64>,
    /// How much of its beginning was sent, and the hash of that.
    beginning: Option<(u64, Hash)>,
}

impl Courier<'_> {
    /// Those that are stored whole, for the report of the end.
    pub(crate) async fn store(&self, leavings: &dyn Leavings) -> Result<Vec<Artifact>, LeaseLost> {
        let mut stored = Vec::new();
        let mut left_out: Vec<_> = leavings.left_out().to_vec();
        for path in leavings.paths() {
            match self.bring(leavings, path).await {
                Ok(artifact) => stored.push(artifact),
                Err(Fault::LeaseLost) => return Err(LeaseLost),
                Err(Fault::LeftOut(why) | Fault::Again(why) | Fault::Away(why)) => {
                    left_out.push(format!("{path}: {why}"));
                }
            }
        }
        for why in left_out.iter().take(NAMED) {
            self.note(&format!("left out of the artifacts: {why}")).await;
        }
        if let Some(more @ 1..) = left_out.len().checked_sub(NAMED) {
            self.note(&format!("left out of the artifacts: {more} more")).await;
        }
        Ok(stored)
    }

    async fn note(&self, text: &str) {
        self.log.push(line_at(clock::wall_micros(), text)).await;
    }

    /// One file, read again where that may help.
    async fn bring(&self, leavings: &dyn Leavings, path: &str) -> Result<Artifact, Fault> {
        let (mut stored, mut backoff) = (Stored::default(), Backoff::default());
        let (mut reads, begun) = (0, Instant::now());
        loop {
            let fault = match self.read_through(leavings, path, &mut stored).await {
                Ok(artifact) => return Ok(artifact),
                Err(fault) => fault,
            };
            match &fault {
                Fault::Again(_) => reads += 1,
                Fault::Away(_) if begun.elapsed() < AWAY => {}
                _ => return Err(fault),
            }
            if reads == READS {
                return Err(fault);
            }
            sleep(backoff.next()).await;
        }
    }

    /// Reads it from its beginning and sends what is not stored yet.
    async fn read_through(
        &self,
        leavings: &dyn Leavings,
        path: &str,
        stored: &mut Stored,
    ) -> Result<Artifact, Fault> {
        let mut file = leavings.open(path).await?;
        let (mut hash, mut sent) = (Sha256::new(), 0);
        let mut piece = BytesMut::new();
        loop {
            let next = file.content.next().await.transpose()?;
            let ended = next.is_none();
            let mut rest = next.unwrap_or_default();
            // Pieces begin at the same places in every reading.
            while !rest.is_empty() || ended {
                let room = ARTIFACT_PIECE - piece.len();
                piece.extend_from_slice(&rest.split_to(room.min(rest.len())));
                if piece.len() == ARTIFACT_PIECE || (ended && (!piece.is_empty() || sent == 0)) {
                    let whole = piece.split().freeze();
                    let end = sent + whole.len() as u64;
                    stored.take_in(&mut hash, sent, &whole)?;
                    self.send(path, sent, whole, stored).await?;
                    stored.sent_to(end, &hash);
                    sent = end;
                }
                if ended {
                    break;
                }
            }
            if ended {
                break;
            }
        }
        if stored.offset != Some(sent) {
            return Err(Fault::LeftOut("it became shorter after it was read".to_owned()));
        }
        let sha256 = hex::encode(hash.finalize());
        Ok(Artifact { path: path.to_owned(), bytes: sent, sha256, executable: file.executable })
    }

    /// Sends what of this piece, which begins at `at`, is not stored yet.
    async fn send(
        &self,
        path: &str,
        at: u64,
        piece: Bytes,
        stored: &mut Stored,
    ) -> Result<(), Fault> {
        let end = at + piece.len() as u64;
        loop {
            let from = stored.offset.unwrap_or(at).max(at);
            if stored.offset.is_some_and(|offset| offset >= end) {
                return Ok(());
            }
            let rest = piece.slice((from - at) as usize..);
            let offset = self.append(path, from, rest).await?;
            let before = stored.offset.replace(offset);
            if offset < at || (before == Some(offset) && offset < end) {
                return Err(Fault::Again("the master lost a part of it".to_owned()));
            }
        }
    }

    /// Asks until there is an answer: where the next piece begins.
    async fn append(&self, path: &str, offset: u64, piece: Bytes) -> Result<u64, Fault> {
        let mut backoff = Backoff::default();
        loop {
            let (worker, lease) = (self.worker, self.lease);
            let sent =
                self.master.append_artifact(worker, lease, path, offset, piece.clone()).await;
            self.link.note(&sent);
            match sent {
                Ok(head) => return Ok(head.offset),
                Err(error) if is_lease_lost(&error) => return Err(Fault::LeaseLost),
                Err(error) if error.is_temporary() => sleep(backoff.next()).await,
                Err(ClientError::Refused(problem))
                    if problem.kind == ProblemKind::ArtifactOffset =>
                {
                    let head = problem.artifact.map(|head| head.offset);
                    return head.ok_or_else(|| Fault::LeftOut(problem.to_string()));
                }
                Err(error) => return Err(Fault::LeftOut(error.to_string())),
            }
        }
    }
}

impl Stored {
    /// Adds a piece to the hash of all before it. As far as it was sent in an earlier reading, it
    /// must be the same again.
    fn take_in(&self, hash: &mut Sha256, at: u64, piece: &[u8]) -> Result<(), Fault> {
        let end = at + piece.len() as u64;
        let Some((length, before)) = self.beginning.filter(|it| at < it.0 && it.0 <= end) else {
            hash.update(piece);
            return Ok(());
        };
        let (known, new) = piece.split_at((length - at) as usize);
        hash.update(known);
        if hash.clone().finalize() != before {
            return Err(Fault::LeftOut("it was written to while it was read".to_owned()));
        }
        hash.update(new);
        Ok(())
    }

    fn sent_to(&mut self, end: u64, hash: &Sha256) {
        if self.beginning.is_none_or(|(length, _)| length < end) {
            self.beginning = Some((end, hash.clone().finalize()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use futures::{StreamExt, stream};
    use orchestra_contracts::{frame::Frames, worker::LogHead};
    use rstest::rstest;

    use super::*;
    use crate::{
        executor::leavings::Leaving,
        outbox,
        testing::{Append, FakeMaster, lease_ref, worker},
    };

    const MIB: usize = ARTIFACT_PIECE;

    /// A file that is another one at each reading, or breaks off.
    #[derive(Default)]
    struct Shelf {
        paths: Vec<String>,
        left_out: Vec<String>,
        /// Of each reading in turn; the last goes on.
        readings: Mutex<Vec<Reading>>,
    }

    /// What comes of it, and how it breaks off; one without content cannot even begin.
    #[derive(Clone, Debug, Default)]
    struct Reading {
        content: Option<Vec<u8>>,
        end: Option<ReadError>,
    }

    impl Shelf {
        fn of(readings: Vec<Reading>) -> Self {
            let readings = Mutex::new(readings);
            Self { paths: vec!["out/file".to_owned()], readings, ..Self::default() }
        }

        fn holding(content: &[u8]) -> Self {
            Self::of(vec![whole(content)])
        }
    }

    fn whole(content: &[u8]) -> Reading {
        Reading { content: Some(content.to_vec()), end: None }
    }

    fn broken(content: &[u8]) -> Reading {
        let end = Some(ReadError::Broken("it broke off".to_owned()));
        Reading { end, ..whole(content) }
    }

    fn shut(why: ReadError) -> Reading {
        Reading { content: None, end: Some(why) }
    }

    #[async_trait]
    impl Leavings for Shelf {
        fn paths(&self) -> &[String] {
            &self.paths
        }

        fn left_out(&self) -> &[String] {
            &self.left_out
        }

        async fn open(&self, _: &str) -> Result<Leaving, ReadError> {
            let mut readings = self.readings.lock().unwrap();
            let last = readings.len() == 1;
            let Reading { content, end } =
                if last { readings[0].clone() } else { readings.remove(0) };
            let Some(content) = content else { return Err(end.unwrap()) };
            // Sizes that fit no piece.
            let pieces = content.chunks(300_001).map(Bytes::copy_from_slice).map(Ok);
            let pieces: Vec<_> = pieces.chain(end.map(Err)).collect();
            let bytes = content.len() as u64;
            Ok(Leaving { bytes, executable: true, content: stream::iter(pieces).boxed() })
        }
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    /// What came of it, and what the log says.
    async fn store(
        master: &Arc<FakeMaster>,
        shelf: &Shelf,
    ) -> (Result<Vec<Artifact>, LeaseLost>, String) {
        let (link, worker, lease) = (Arc::default(), worker("w"), lease_ref(1, 1));
        let (log, upload) =
            outbox::open(master.clone(), link, worker.clone(), lease.clone(), LogHead::default());
        let link = Link::default();
        let storing = async {
            let courier = Courier {
                master: &**master,
                link: &link,
                worker: &worker,
                lease: &lease,
                log: &log,
            };
            let stored = courier.store(shelf).await;
            drop(log);
            stored
        };
        let (stored, uploaded) = tokio::join!(storing, upload.run());
        uploaded.unwrap();
        let mut said = String::new();
        for frame in Frames::new(master.log()) {
            if let orchestra_contracts::frame::Body::Bytes(_, bytes) = frame.unwrap().body {
                said.push_str(std::str::from_utf8(&bytes).unwrap());
            }
        }
        (stored, said)
    }

    #[rstest]
    #[case::nothing_goes_wrong(&[])]
    #[case::the_answer_is_lost(&[Append::LoseAnswer, Append::Store, Append::LoseAnswer])]
    #[case::the_request_is_lost(&[Append::LoseRequest, Append::LoseRequest])]
    #[case::a_piece_is_stored_in_part(&[Append::StoreFirstFrame, Append::StoreFirstFrame])]
    #[case::a_hole_is_told(&[Append::Store, Append::ForgetAndComplain])]
    #[case::the_master_is_unwell(&[Append::Unwell, Append::Unwell, Append::LoseAnswer])]
    #[tokio::test(start_paused = true)]
    async fn every_byte_of_a_file_arrives_once(
        #[case] script: &[Append],
        #[values(0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB + 7)] length: usize,
    ) {
        let master = FakeMaster::scripted(&[]);
        master.script_pieces(script);
        let content = bytes(length);
        let (stored, said) = store(&master, &Shelf::holding(&content)).await;
        let sha256 = hex::encode(Sha256::digest(&content));
        let path = "out/file".to_owned();
        let artifact = Artifact { path, bytes: length as u64, sha256, executable: true };
        assert_eq!((stored.unwrap(), said.as_str()), (vec![artifact], ""));
        assert!(master.file("out/file").unwrap() == content, "what is stored differs");
        assert!(master.pieces().iter().all(|(_, _, length)| *length <= MIB));
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_earlier_process_sent_is_not_sent_again() {
        let (master, content) = (FakeMaster::scripted(&[]), bytes(3 * MIB));
        master.has_file("out/file", &content[..2 * MIB]);
        let (stored, _) = store(&master, &Shelf::holding(&content)).await;
        assert_eq!(stored.unwrap().len(), 1);
        assert!(master.file("out/file").unwrap() == content, "what is stored differs");
        let offsets: Vec<_> = master.pieces().iter().map(|(_, offset, _)| *offset).collect();
        assert_eq!(offsets, [0, 2 * MIB as u64], "the first is a question");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_breaks_is_begun_again_and_nothing_is_sent_twice() {
        let (master, content) = (FakeMaster::scripted(&[]), bytes(2 * MIB + 9));
        let away = shut(ReadError::Away("no engine".to_owned()));
        let readings = vec![
            broken(&content[..MIB + 5]),
            away.clone(),
            away,
            broken(&content[..2 * MIB + 2]),
            whole(&content),
        ];
        let (stored, said) = store(&master, &Shelf::of(readings)).await;
        assert_eq!((stored.unwrap().len(), said.as_str()), (1, ""));
        assert!(master.file("out/file").unwrap() == content, "what is stored differs");
        let offsets: Vec<_> = master.pieces().iter().map(|(_, offset, _)| *offset).collect();
        assert_eq!(offsets, [0, MIB as u64, 2 * MIB as u64]);
    }

    #[rstest]
    #[case::its_beginning_changed(vec![broken(&bytes(MIB + 5)), whole(&[7; MIB + 5])], "written to while")]
    #[case::it_became_shorter(vec![broken(&bytes(2 * MIB)), whole(&bytes(MIB))], "shorter")]
    #[case::it_always_breaks(vec![broken(&bytes(5))], "it broke off")]
    #[case::nobody_has_it(vec![shut(ReadError::Unfit("it is gone".to_owned()))], "it is gone")]
    #[case::its_engine_stays_away(vec![shut(ReadError::Away("no engine".to_owned()))], "no engine")]
    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_left_out_and_the_log_says_so(
        #[case] readings: Vec<Reading>,
        #[case] why: &str,
    ) {
        let master = FakeMaster::scripted(&[]);
        let (stored, said) = store(&master, &Shelf::of(readings)).await;
        assert_eq!(stored.unwrap(), []);
        assert!(said.starts_with("left out of the artifacts: out/file: "), "{said}");
        assert!(said.contains(why), "{said}");
    }

    /// Its whole length was sent before it grew: that was no place where pieces end.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_grew_and_changed_between_two_readings_is_left_out() {
        let master = FakeMaster::scripted(&[]);
        master.has_file("out/file", &bytes(MIB + 5));
        let mut changed = bytes(MIB + 50);
        changed[MIB + 2] ^= 1;
        let mut same = bytes(MIB + 50);
        same[MIB + 7] ^= 1;
        for (then, kept) in [(same, 1), (changed, 0)] {
            let shelf = Shelf::of(vec![whole(&bytes(MIB + 5)), whole(&then)]);
            let mut stored = Stored::default();
            let (log, _upload) = outbox::open(
                master.clone(),
                Arc::default(),
                worker("w"),
                lease_ref(1, 1),
                LogHead::default(),
            );
            let (name, lease, link) = (worker("w"), lease_ref(1, 1), Link::default());
            let courier =
                Courier { master: &*master, link: &link, worker: &name, lease: &lease, log: &log };
            assert!(courier.read_through(&shelf, "out/file", &mut stored).await.is_ok());
            let again = courier.read_through(&shelf, "out/file", &mut stored).await;
            assert_eq!(usize::from(again.is_ok()), kept);
            master.has_file("out/file", &bytes(MIB + 5));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_the_limit_is_left_out_and_the_rest_follows() {
        let master = FakeMaster::scripted(&[]);
        master.script_pieces(&[Append::Store, Append::TooLarge]);
        let mut shelf = Shelf::holding(b"content");
        shelf.paths = ["a", "b", "c"].map(str::to_owned).into();
        shelf.left_out = vec!["\"x\\ny\" is no path".to_owned()];
        let (stored, said) = store(&master, &shelf).await;
        let paths: Vec<_> = stored.unwrap().into_iter().map(|artifact| artifact.path).collect();
        assert_eq!(paths, ["a", "c"]);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(
            lines,
            [
                "left out of the artifacts: \"x\\ny\" is no path",
                "left out of the artifacts: b: TooLarge"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_ends_it() {
        let master = FakeMaster::scripted(&[]);
        master.script_pieces(&[Append::Store, Append::LeaseLost]);
        let (stored, _) = store(&master, &Shelf::holding(&bytes(3 * MIB))).await;
        assert!(stored.is_err());
        assert_eq!(master.pieces().len(), 2);
    }
}

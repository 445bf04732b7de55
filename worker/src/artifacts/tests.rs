//! What reaches the master of a job's artifacts, whatever happens to its answers.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use orchestra_contracts::{frame::Frames, worker::LogHead};
use rstest::rstest;

use super::*;
use crate::{
    executor::artifacts::ArtifactFile,
    outbox,
    testing::{Append, FakeMaster, lease_ref, worker},
};

const MIB: usize = ARTIFACT_PIECE;

/// A file that changes with each pass, or breaks off.
#[derive(Default)]
struct Shelf {
    paths: Vec<String>,
    left_out: Vec<String>,
    /// One entry per pass; the last one repeats.
    readings: Mutex<Vec<Reading>>,
}

/// The content of one pass, and how it breaks off. Without content, not even the opening succeeds.
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
impl ArtifactSource for Shelf {
    fn paths(&self) -> &[String] {
        &self.paths
    }

    fn left_out(&self) -> &[String] {
        &self.left_out
    }

    async fn open(&self, _: &str) -> Result<ArtifactFile, ReadError> {
        let mut readings = self.readings.lock().unwrap();
        let last = readings.len() == 1;
        let Reading { content, end } = if last { readings[0].clone() } else { readings.remove(0) };
        let Some(content) = content else { return Err(end.unwrap()) };
        // A size that does not divide a piece.
        let pieces = content.chunks(300_001).map(Bytes::copy_from_slice).map(Ok);
        let pieces: Vec<_> = pieces.chain(end.map(Err)).collect();
        let bytes = content.len() as u64;
        Ok(ArtifactFile { bytes, executable: true, content: stream::iter(pieces).boxed() })
    }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// The result, and the log's text.
async fn store(
    master: &Arc<FakeMaster>,
    shelf: &Shelf,
) -> (Result<Vec<Artifact>, LeaseLost>, String) {
    let (link, worker, lease) = (Arc::default(), worker("w"), lease_ref(1, 1));
    let (log, upload) =
        outbox::open(master.clone(), link, worker.clone(), lease.clone(), LogHead::default());
    let link = Link::default();
    let storing = async {
        let uploader = ArtifactUploader {
            master: &**master,
            link: &link,
            worker: &worker,
            lease: &lease,
            log: &log,
        };
        let stored = uploader.store(shelf).await;
        drop(log);
        stored
    };
    let (stored, uploaded) = tokio::join!(storing, upload.run());
    uploaded.unwrap().store_rest().await.unwrap();
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

/// All of it was sent before it grew, up to an offset that is no piece boundary.
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
        let uploader = ArtifactUploader {
            master: &*master,
            link: &link,
            worker: &name,
            lease: &lease,
            log: &log,
        };
        assert!(uploader.read_through(&shelf, "out/file", &mut stored).await.is_ok());
        let again = uploader.read_through(&shelf, "out/file", &mut stored).await;
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

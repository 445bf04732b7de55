//! The upload of a log against a scripted master: nothing lost, nothing twice, bounded.

use orchestra_contracts::frame::Frames;
use rstest::rstest;

use super::*;
use crate::testing::{Append, FakeMaster, lease_ref, worker};

fn frame(stream: Stream, bytes: &[u8]) -> Frame {
    Frame { time: 7, body: Body::Bytes(stream, bytes.to_vec().into()) }
}

fn numbered(count: usize) -> Vec<Frame> {
    let stream = |n| if n % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
    (0..count).map(|n| frame(stream(n), format!("line {n}\n").as_bytes())).collect()
}

fn open_at(master: &Arc<FakeMaster>, stored: LogHead) -> (Outbox, Upload) {
    open(master.clone(), alone(), worker("w"), lease_ref(1, 1), stored)
}

async fn upload(master: &Arc<FakeMaster>, frames: &[Frame]) -> Result<LogEnd, UploadError> {
    upload_after(master, LogHead::default(), frames).await
}

/// Of a worker whose master does not take a rest along.
fn alone() -> Arc<Link> {
    let link = Arc::<Link>::default();
    link.note_no_rests();
    link
}

async fn upload_after(
    master: &Arc<FakeMaster>,
    stored: LogHead,
    frames: &[Frame],
) -> Result<LogEnd, UploadError> {
    let (outbox, upload) = open_at(master, stored);
    let push = async {
        for frame in frames {
            outbox.push(frame.clone()).await;
            tokio::task::yield_now().await;
        }
        drop(outbox);
    };
    tokio::join!(upload.run(), push).0.map(|closed| closed.end)
}

#[rstest]
#[case::nothing_goes_wrong(&[])]
#[case::the_answer_is_lost(&[Append::LoseAnswer, Append::Store, Append::LoseAnswer])]
#[case::the_request_is_lost(&[Append::LoseRequest, Append::LoseRequest])]
#[case::the_connection_is_cut_within_a_batch(&[Append::StoreFirstFrame, Append::Store, Append::StoreFirstFrame])]
#[case::a_cut_is_answered_with_a_problem(&[Append::StoreFirstFrameAndComplain])]
#[case::the_master_is_unwell(&[Append::Unwell, Append::Unwell, Append::LoseAnswer])]
#[tokio::test(start_paused = true)]
async fn every_byte_arrives_once(#[case] script: &[Append]) {
    let master = FakeMaster::scripted(script);
    let mut frames = numbered(200);
    frames.push(Frame { time: 9, body: Body::Gap(5) });
    frames.push(frame(Stream::System, b"note\n"));
    let end = upload(&master, &frames).await.unwrap();

    let log = master.log();
    assert_eq!(end.offset, log.len() as u64);
    let stored: Vec<_> = Frames::new(log).map(Result::unwrap).collect();
    assert_eq!(stored, frames);
    let text: Vec<_> = (0..200).map(|n| format!("line {n}\n")).collect();
    let text = text.concat();
    assert_eq!(end.crc32, crc32fast::hash(text.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_where_another_has_stopped() {
    let master = FakeMaster::scripted(&[]);
    let frames = numbered(20);
    let first = upload(&master, &frames[..7]).await.unwrap();
    let output = (0..7).map(|n| format!("line {n}\n").len() as u64).sum();
    let stored = LogHead { offset: first.offset, output, gap: 0, crc32: first.crc32 };
    let end = upload_after(&master, stored, &frames[7..]).await.unwrap();
    let at_once = upload(&FakeMaster::scripted(&[]), &frames).await.unwrap();
    assert_eq!(end, at_once);
}

#[tokio::test(start_paused = true)]
async fn no_request_is_larger_than_a_batch() {
    let master = FakeMaster::scripted(&[]);
    let frames = vec![frame(Stream::Stdout, &vec![7; MAX_PAYLOAD]); 40];
    upload(&master, &frames).await.unwrap();
    let largest = master.requests().into_iter().max().unwrap();
    assert!(largest > MAX_BATCH / 2 && largest <= MAX_BATCH, "{largest}");
}

#[tokio::test(start_paused = true)]
async fn the_first_bytes_go_at_once_and_the_rest_together() {
    let master = FakeMaster::scripted(&[]);
    let (outbox, upload) = open_at(&master, LogHead::default());
    for frame in numbered(100) {
        outbox.push(frame).await;
    }
    drop(outbox);
    upload.run().await.unwrap();
    assert_eq!(master.requests().len(), 1);
}

/// What the upload leaves of frames that were there when the outbox was dropped.
async fn left_of(link: Arc<Link>, frames: &[Frame]) -> (Arc<FakeMaster>, Closed) {
    let master = FakeMaster::scripted(&[Append::LoseAnswer]);
    let lease = lease_ref(1, 1);
    let (outbox, upload) = open(master.clone(), link, worker("w"), lease, LogHead::default());
    for frame in frames {
        outbox.push(frame.clone()).await;
    }
    drop(outbox);
    let closed = upload.run().await.unwrap();
    (master, closed)
}

#[tokio::test(start_paused = true)]
async fn what_is_not_on_its_way_at_the_end_is_left_for_the_report() {
    let frames = numbered(100);
    let (master, mut closed) = left_of(Arc::default(), &frames).await;
    assert_eq!(master.requests(), [0; 0]);
    let rest: Vec<_> = Frames::new(closed.rest.clone()).map(Result::unwrap).collect();
    assert_eq!(rest, frames);
    assert_eq!(closed.end.offset, closed.rest.len() as u64);
    closed.store_rest().await.unwrap();
    assert_eq!(master.log().len() as u64, closed.end.offset);
    let (other, sent) = left_of(alone(), &frames).await;
    assert_eq!((other.log(), sent.rest.len()), (master.log(), 0));
    assert_eq!(sent.end, closed.end);
}

#[rstest]
#[case(MAX_REST - HEADER, MAX_REST)]
#[case(MAX_REST - HEADER + 1, 0)]
#[tokio::test(start_paused = true)]
async fn only_what_is_little_is_left(#[case] bytes: usize, #[case] left: usize) {
    let (_, closed) = left_of(Arc::default(), &[frame(Stream::Stdout, &vec![7; bytes])]).await;
    assert_eq!(closed.rest.len(), left);
}

#[tokio::test(start_paused = true)]
async fn while_it_may_go_on_nothing_is_held_back() {
    let master = FakeMaster::scripted(&[]);
    let lease = lease_ref(1, 1);
    let (outbox, upload) =
        open(master.clone(), Arc::default(), worker("w"), lease, LogHead::default());
    let talk = async {
        outbox.push(numbered(1).remove(0)).await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        assert_eq!(master.requests().len(), 1);
        drop(outbox);
    };
    let (closed, ()) = tokio::join!(upload.run(), talk);
    assert_eq!(closed.unwrap().rest.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_waits_for_the_master() {
    let (outbox, upload) = open_at(&FakeMaster::scripted(&[]), LogHead::default());
    let fill = async {
        for _ in 0..=MAX_WAITING / MAX_PAYLOAD {
            outbox.push(frame(Stream::Stdout, &vec![7; MAX_PAYLOAD])).await;
        }
    };
    tokio::pin!(fill);
    assert!(futures::poll!(&mut fill).is_pending(), "it must not take more than its limit");
    let (_, ()) = tokio::join!(
        async { tokio::time::timeout(std::time::Duration::from_secs(1), upload.run()).await },
        fill
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_ends_the_upload_and_frees_the_writer() {
    let master = FakeMaster::scripted(&[Append::Store, Append::LeaseLost]);
    let frames = vec![frame(Stream::Stdout, &vec![7; MAX_PAYLOAD]); 100];
    let error = upload(&master, &frames).await.unwrap_err();
    assert!(matches!(error, UploadError::LeaseLost), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_somebody_else_wrote_to_is_noticed() {
    let master = FakeMaster::scripted(&[Append::Store, Append::AnswerOffset(1)]);
    let error = upload(&master, &numbered(5)).await.unwrap_err();
    assert!(matches!(error, UploadError::Misplaced { stored: 1, .. }), "{error}");
}

//! Artifacts: how their pieces arrive, and where a piece goes in a file that is stored in part.

use bytes::Bytes;
use orchestra_contracts::{AttemptNo, JobId, Size, limits, worker::ArtifactHead};
use sha2::{
    Digest, Sha256,
    digest::common::hazmat::{SerializableState, SerializedState},
};

use crate::domain::Proof;

/// A piece of an artifact of the newest attempt.
#[derive(Clone, Debug)]
pub struct ArtifactPiece {
    pub job: JobId,
    pub attempt: AttemptNo,
    pub proof: Proof,
    /// The path below the working folder, checked by the caller.
    pub path: String,
    /// Where in the file the piece begins. Bytes that are stored already are skipped; a hole is
    /// refused.
    pub offset: u64,
    pub content: Bytes,
    /// The limit on the size of all artifacts of the attempt together, in bytes.
    pub limit: Size,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceStored {
    /// Stored up to here, now or before.
    Stored(ArtifactHead),
    /// The piece begins behind the end of the stored file.
    Misplaced(ArtifactHead),
    /// The file exceeds a limit; nothing of it is stored.
    OverLimit(ArtifactLimit),
    /// The job asks for no artifacts.
    KeepsNone,
    LeaseLost,
    NoSuchJob,
}

/// The limit that an attempt's artifacts exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtifactLimit {
    Files,
    Bytes,
}

/// How much is stored of an attempt's artifacts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ArtifactTotals {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Where a piece goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PiecePlace {
    Known(ArtifactHead),
    Misplaced(ArtifactHead),
    OverLimit(ArtifactLimit),
    /// So many of its bytes are stored already; the rest is new.
    New(usize),
}

/// Places a piece. `stored` is the size of its file, if it was begun.
pub(super) fn place(
    piece: &ArtifactPiece,
    stored: Option<u64>,
    totals: ArtifactTotals,
) -> PiecePlace {
    let head = ArtifactHead { offset: stored.unwrap_or_default() };
    let Some(known) = head.offset.checked_sub(piece.offset) else {
        return PiecePlace::Misplaced(head);
    };
    let new = (piece.content.len() as u64).saturating_sub(known);
    if stored.is_some() && new == 0 {
        return PiecePlace::Known(head);
    }
    if stored.is_none() && totals.files >= limits::ARTIFACTS as u64 {
        return PiecePlace::OverLimit(ArtifactLimit::Files);
    }
    if totals.bytes.saturating_add(new) > piece.limit.0 {
        return PiecePlace::OverLimit(ArtifactLimit::Bytes);
    }
    PiecePlace::New(known as usize)
}

/// A SHA-256 that is continued from piece to piece, so that stored pieces are not read again for
/// it.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Sha256);

impl Running {
    /// Restores a stored hash; `None` if another version stored it.
    pub(super) fn kept(state: &[u8]) -> Option<Self> {
        let state = SerializedState::<Sha256>::try_from(state).ok()?;
        Sha256::deserialize(&state).ok().map(Self)
    }

    pub(super) fn add(&mut self, content: &[u8]) {
        self.0.update(content);
    }

    pub(super) fn keep(&self) -> Vec<u8> {
        self.0.serialize().to_vec()
    }

    /// In hexadecimal digits.
    pub(super) fn end(self) -> String {
        hex::encode(self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::LeaseToken;

    use super::*;

    fn piece(offset: u64, content: &'static str) -> ArtifactPiece {
        let proof =
            Proof { worker: "w".parse().unwrap(), token: LeaseToken::new("t"), attempt: None };
        let (path, content) = ("a".to_owned(), Bytes::from(content));
        let (job, attempt, limit) = (JobId(1), AttemptNo(1), Size(10));
        ArtifactPiece { job, attempt, proof, path, offset, content, limit }
    }

    #[test]
    fn a_piece_goes_behind_what_is_stored() {
        let totals = ArtifactTotals { files: 1, bytes: 3 };
        let at = |offset| ArtifactHead { offset };
        let placed = |offset, content| place(&piece(offset, content), Some(3), totals);
        assert_eq!(placed(3, "de"), PiecePlace::New(0));
        assert_eq!(placed(1, "bcde"), PiecePlace::New(2));
        for (offset, content) in [(0, "abc"), (1, "b"), (3, ""), (0, "")] {
            assert_eq!(placed(offset, content), PiecePlace::Known(at(3)), "{offset}");
        }
        assert_eq!(placed(4, "e"), PiecePlace::Misplaced(at(3)));
        assert_eq!(place(&piece(1, "b"), None, totals), PiecePlace::Misplaced(at(0)));
        assert_eq!(place(&piece(0, ""), None, totals), PiecePlace::New(0), "an empty file is one");
    }

    #[test]
    fn the_bounds_are_those_of_all_files_together() {
        let totals = |files, bytes| ArtifactTotals { files, bytes };
        let most = limits::ARTIFACTS as u64;
        let placed = |stored, totals| place(&piece(0, "abc"), stored, totals);
        assert_eq!(placed(None, totals(most - 1, 7)), PiecePlace::New(0));
        assert_eq!(placed(None, totals(0, 8)), PiecePlace::OverLimit(ArtifactLimit::Bytes));
        assert_eq!(placed(None, totals(most, 0)), PiecePlace::OverLimit(ArtifactLimit::Files));
        assert_eq!(placed(Some(0), totals(most, 7)), PiecePlace::New(0));
        assert_eq!(placed(Some(2), totals(most, 10)), PiecePlace::OverLimit(ArtifactLimit::Bytes));
    }

    #[test]
    fn a_hash_goes_on_where_it_was_kept() {
        let mut whole = Running::default();
        whole.add(b"abc");
        let mut first = Running::default();
        first.add(b"ab");
        let mut second = Running::kept(&first.keep()).unwrap();
        second.add(b"c");
        assert_eq!(second.end(), whole.clone().end());
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(whole.end(), known);
        assert!(Running::kept(b"something else").is_none());
    }
}

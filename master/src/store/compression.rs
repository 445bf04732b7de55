//! Compression of stored log frames, as one LZ4 block
//! (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>) where it pays.
//!
//! The output of compilers and tests shrinks to between a quarter and a seventh. Output that comes in
//! small pieces is stored uncompressed, so that writing and following it costs nothing.

use std::borrow::Cow;

/// In bytes. Shorter pieces gain too little.
const SHORTEST: usize = 1024;
/// Compression has to save at least one part in so many; with less, reading costs more than it saves.
const GAIN: usize = 8;

/// Compresses frames where it pays. Returns the bytes to store, and the original length if they are
/// compressed.
pub(super) fn pack(frames: &[u8]) -> (Cow<'_, [u8]>, Option<i64>) {
    let plain = (Cow::Borrowed(frames), None);
    if frames.len() < SHORTEST {
        return plain;
    }
    let packed = lz4_flex::block::compress(frames);
    if packed.len() > frames.len() - frames.len() / GAIN {
        return plain;
    }
    (Cow::Owned(packed), Some(frames.len() as i64))
}

/// Decompresses stored bytes. The error is the reason why they cannot be decompressed.
pub(super) fn unpack(stored: Vec<u8>, bytes: Option<i64>) -> Result<Vec<u8>, String> {
    let Some(bytes) = bytes else { return Ok(stored) };
    let length = usize::try_from(bytes).map_err(|_| "its length is negative".to_owned())?;
    // No block stands for more than 255 times its length: no memory is taken for one that says so.
    if length / 255 > stored.len() {
        return Err("it is too short for its length".to_owned());
    }
    let frames = lz4_flex::block::decompress(&stored, length).map_err(|error| error.to_string())?;
    if frames.len() == length { Ok(frames) } else { Err("its length is another".to_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| byte()).collect()
    }

    #[test]
    fn what_does_not_get_shorter_stands_as_it_came() {
        for frames in [vec![0; SHORTEST - 1], noise(SHORTEST), noise(100_000), Vec::new()] {
            let (stored, bytes) = pack(&frames);
            assert_eq!((stored.as_ref(), bytes), (&frames[..], None));
        }
        let (stored, bytes) = pack(&[0; SHORTEST]);
        assert!(stored.len() < 32 && bytes == Some(SHORTEST as i64));
    }

    #[test]
    fn what_is_damaged_is_told() {
        let line = b"a line as compilers write them\n".repeat(100);
        let (stored, bytes) = pack(&line);
        let stored = stored.into_owned();
        for (stored, bytes) in [
            (stored.clone(), bytes.map(|bytes| bytes - 1)),
            (stored.clone(), bytes.map(|bytes| bytes + 1)),
            (stored.clone(), Some(i64::MAX)),
            (stored.clone(), Some(-1)),
            (stored[..stored.len() / 2].to_vec(), bytes),
            (Vec::new(), bytes),
        ] {
            assert!(unpack(stored, bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn frames_come_back_as_they_were(
            piece in prop::collection::vec(any::<u8>(), 0..200),
            times in 1_usize..200,
        ) {
            let frames = piece.repeat(times);
            let (stored, bytes) = pack(&frames);
            prop_assert_eq!(unpack(stored.into_owned(), bytes).unwrap(), frames);
        }
    }
}

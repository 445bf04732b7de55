//! Compression of stored log frames where it pays: as one LZ4 block
//! (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>) or one zstd frame
//! (<https://www.rfc-editor.org/rfc/rfc8878>). The first bytes tell which, so one database may hold both.
//!
//! The output of compilers and tests shrinks to between a quarter and a ninth. Output that comes in
//! small pieces is stored uncompressed, so that writing and following it costs nothing.

use std::{borrow::Cow, cell::RefCell, fmt, io, str::FromStr};

use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe::{MAGICNUMBER, get_frame_content_size},
};

/// In bytes. Shorter pieces gain too little.
const SHORTEST: usize = 1024;
/// Compression has to save at least one part in so many; with less, reading costs more than it saves.
const GAIN: usize = 8;

/// The default of zstd. Higher levels take several times as long to save a few per cent more.
const LEVEL: i32 = 3;

/// The compression of log frames that are stored from now on. Stored frames are read whatever the setting is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogCodec {
    /// Read by every version that compresses logs.
    #[default]
    Lz4,
    /// About 30 % smaller than LZ4, and slower to write and to read. Versions before this setting cannot read it.
    Zstd,
}

impl LogCodec {
    const ALL: [(Self, &str); 2] = [(Self::Lz4, "lz4"), (Self::Zstd, "zstd")];

    fn pack(self, frames: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Lz4 => Some(lz4_flex::block::compress(frames)),
            // This fails only if memory runs out.
            Self::Zstd => zstd(frames).ok(),
        }
    }
}

impl fmt::Display for LogCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find_map(|(codec, name)| (codec == self).then_some(*name));
        f.write_str(name.unwrap_or_default())
    }
}

impl FromStr for LogCodec {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find_map(|(codec, name)| (*name == text).then_some(*codec));
        found.ok_or("it is lz4 or zstd")
    }
}

thread_local! {
    // Creating a context takes several times as long as compressing a piece with it.
    static PACKER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn zstd(frames: &[u8]) -> io::Result<Vec<u8>> {
    PACKER.with_borrow_mut(|packer| {
        let packer = match packer {
            Some(packer) => packer,
            None => packer.insert(Compressor::new(LEVEL)?),
        };
        packer.compress(frames)
    })
}

/// Compresses frames where it pays. Returns the bytes to store, and the original length if they are
/// compressed.
pub(super) fn pack(codec: LogCodec, frames: &[u8]) -> (Cow<'_, [u8]>, Option<i64>) {
    let plain = (Cow::Borrowed(frames), None);
    if frames.len() < SHORTEST {
        return plain;
    }
    let Some(packed) = codec.pack(frames) else { return plain };
    if packed.len() > frames.len() - frames.len() / GAIN {
        return plain;
    }
    (Cow::Owned(packed), Some(frames.len() as i64))
}

/// Decompresses stored bytes. The error is the reason why they cannot be decompressed.
pub(super) fn unpack(stored: Vec<u8>, bytes: Option<i64>) -> Result<Vec<u8>, String> {
    let Some(bytes) = bytes else { return Ok(stored) };
    let length = usize::try_from(bytes).map_err(|_| "its length is negative".to_owned())?;
    let frames = if is_zstd(&stored) { unzstd(&stored, length)? } else { unlz4(&stored, length)? };
    if frames.len() == length { Ok(frames) } else { Err("its length is another".to_owned()) }
}

/// No valid LZ4 block starts with these bytes. They would mean two literals, followed by a copy from at least
/// 253 bytes back, where there is nothing yet.
fn is_zstd(stored: &[u8]) -> bool {
    stored.starts_with(&MAGICNUMBER.to_le_bytes())
}

fn unzstd(stored: &[u8], length: usize) -> Result<Vec<u8>, String> {
    // Allocate only if the frame itself states the expected length.
    if !matches!(get_frame_content_size(stored), Ok(Some(known)) if known == length as u64) {
        return Err("its length is another".to_owned());
    }
    let unpacked = UNPACKER.with_borrow_mut(|unpacker| {
        let unpacker = match unpacker {
            Some(unpacker) => unpacker,
            None => unpacker.insert(Decompressor::new()?),
        };
        unpacker.decompress(stored, length)
    });
    unpacked.map_err(|error| error.to_string())
}

fn unlz4(stored: &[u8], length: usize) -> Result<Vec<u8>, String> {
    // A block cannot expand to more than 255 times its length, so do not allocate for one that claims to.
    if length / 255 > stored.len() {
        return Err("it is too short for its length".to_owned());
    }
    lz4_flex::block::decompress(stored, length).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [LogCodec; 2] = [LogCodec::Lz4, LogCodec::Zstd];

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
        for codec in BOTH {
            for frames in [vec![0; SHORTEST - 1], noise(SHORTEST), noise(100_000), Vec::new()] {
                let (stored, bytes) = pack(codec, &frames);
                assert_eq!((stored.as_ref(), bytes), (&frames[..], None), "{codec}");
            }
            let (stored, bytes) = pack(codec, &[0; SHORTEST]);
            assert!(stored.len() < 32 && bytes == Some(SHORTEST as i64), "{codec}");
        }
    }

    #[test]
    fn a_setting_names_a_codec() {
        for codec in BOTH {
            assert_eq!(codec.to_string().parse(), Ok(codec));
        }
        assert_eq!("gzip".parse::<LogCodec>(), Err("it is lz4 or zstd"));
        assert_eq!(LogCodec::default(), LogCodec::Lz4, "what masters of before can read");
    }

    /// Whatever stands behind them, no LZ4 block begins with the first bytes of zstd.
    #[test]
    fn the_first_bytes_tell_one_from_the_other() {
        let line = b"a line as compilers write them\n".repeat(100);
        assert!(!is_zstd(&pack(LogCodec::Lz4, &line).0));
        assert!(is_zstd(&pack(LogCodec::Zstd, &line).0));
        for rest in [vec![0; 64], vec![255; 64], noise(64)] {
            let block = [&MAGICNUMBER.to_le_bytes()[..], &rest].concat();
            assert!(lz4_flex::block::decompress(&block, 1 << 16).is_err());
        }
    }

    /// As a version wrote it that knew LZ4 alone: a line, and then the same 31 bytes again and again.
    #[test]
    fn what_was_packed_before_is_read() {
        let line = b"a line as compilers write them\n";
        let mut stored = vec![0xff, 16];
        stored.extend(line);
        // 1,204 bytes more from 31 before, and five of its own at the end, as the format wants it.
        stored.extend([31, 0, 255, 255, 255, 255, 165, 0x50]);
        stored.extend(&line[26..]);
        let frames = line.repeat(40);
        assert_eq!(stored.len(), 2 + 31 + 8 + 5);
        assert_eq!(unpack(stored, Some(frames.len() as i64)).unwrap(), frames);
    }

    #[test]
    fn what_is_damaged_is_told() {
        let line = b"a line as compilers write them\n".repeat(100);
        for codec in BOTH {
            let (stored, bytes) = pack(codec, &line);
            let stored = stored.into_owned();
            for (stored, bytes) in [
                (stored.clone(), bytes.map(|bytes| bytes - 1)),
                (stored.clone(), bytes.map(|bytes| bytes + 1)),
                (stored.clone(), Some(i64::MAX)),
                (stored.clone(), Some(-1)),
                (stored[..stored.len() / 2].to_vec(), bytes),
                (stored[..4].to_vec(), bytes),
                (Vec::new(), bytes),
            ] {
                assert!(unpack(stored, bytes).is_err(), "{codec}: {bytes:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn frames_come_back_as_they_were(
            piece in prop::collection::vec(any::<u8>(), 0..200),
            times in 1_usize..200,
        ) {
            let frames = piece.repeat(times);
            for codec in BOTH {
                let (stored, bytes) = pack(codec, &frames);
                prop_assert_eq!(&unpack(stored.into_owned(), bytes).unwrap(), &frames);
            }
        }
    }
}

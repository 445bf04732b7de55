//! The encoding of frames and of the fields in their payloads.

use std::time::Duration;

use super::Malformed;

/// Length of kind and length, which come before the payload.
pub(super) const HEADER: usize = 5;

pub(super) fn frame(buffer: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[kind, 0, 0, 0, 0]);
    write(buffer);
    let length = (buffer.len() - start - HEADER) as u32;
    buffer[start + 1..start + HEADER].copy_from_slice(&length.to_le_bytes());
    buffer.push(b'\n');
}

pub(super) fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The number of items, then each item.
pub(super) fn put_list(out: &mut Vec<u8>, list: &[Vec<u8>]) {
    put_u64(out, list.len() as u64);
    for bytes in list {
        put_bytes(out, bytes);
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) struct Input<'a> {
    pub(super) kind: u8,
    pub(super) rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (array, rest) =
            self.rest.split_first_chunk().ok_or(Malformed::BadPayload(self.kind))?;
        self.rest = rest;
        Ok(array)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(|bytes| u64::from_le_bytes(*bytes))
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, Malformed> {
        let length = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        let (bytes, rest) =
            self.rest.split_at_checked(length).ok_or(Malformed::BadPayload(self.kind))?;
        self.rest = rest;
        Ok(bytes.to_vec())
    }

    pub(super) fn list(&mut self) -> Result<Vec<Vec<u8>>, Malformed> {
        (0..self.u64()?).map(|_| self.bytes()).collect()
    }

    /// One byte, 0 or 1.
    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Malformed::BadPayload(self.kind)),
        }
    }

    pub(super) fn millis(&mut self) -> Result<Duration, Malformed> {
        self.u64().map(Duration::from_millis)
    }

    pub(super) fn micros(&mut self) -> Result<Duration, Malformed> {
        self.u64().map(Duration::from_micros)
    }

    pub(super) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn end<M>(self, message: M) -> Result<M, Malformed> {
        if self.rest.is_empty() { Ok(message) } else { Err(Malformed::BadPayload(self.kind)) }
    }
}

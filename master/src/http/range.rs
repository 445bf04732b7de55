//! `Range: bytes=` (RFC 9110, section 14) with one range. Several ranges, or other units, get the
//! whole content, as the RFC allows.

use std::ops::RangeInclusive;

use axum::http::{HeaderMap, header};

/// A requested range, before the length of the content is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Range {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

pub(in crate::http) fn wanted(headers: &HeaderMap) -> Option<Range> {
    let value = headers.get(header::RANGE)?.to_str().ok()?;
    let (first, last) = value.strip_prefix("bytes=")?.trim().split_once('-')?;
    Some(match (first, last) {
        ("", last) => Range::Last(last.parse().ok()?),
        (first, "") => Range::From(first.parse().ok()?),
        (first, last) => Range::Between(first.parse().ok()?, last.parse().ok()?),
    })
}

impl Range {
    /// The range in content of this length. `None` if it is empty.
    pub(in crate::http) fn within(self, length: u64) -> Option<RangeInclusive<u64>> {
        let last = length.checked_sub(1)?;
        let range = match self {
            Self::From(first) => first..=last,
            Self::Between(first, end) => first..=end.min(last),
            Self::Last(0) => return None,
            Self::Last(count) => length.saturating_sub(count)..=last,
        };
        (!range.is_empty()).then_some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &'static str) -> Option<Range> {
        wanted(&[(header::RANGE, value.parse().unwrap())].into_iter().collect())
    }

    #[track_caller]
    fn within(value: &'static str, length: u64) -> Option<RangeInclusive<u64>> {
        read(value).expect("a range").within(length)
    }

    #[test]
    fn one_range_is_understood() {
        assert_eq!(within("bytes=0-3", 10), Some(0..=3));
        assert_eq!(within("bytes=4-", 10), Some(4..=9));
        assert_eq!(within("bytes=-3", 10), Some(7..=9));
        assert_eq!(within("bytes=-30", 10), Some(0..=9));
        assert_eq!(within("bytes=5-500", 10), Some(5..=9));
    }

    #[test]
    fn what_is_not_there_is_told_from_what_is_not_understood() {
        for value in ["bytes=10-", "bytes=5-1", "bytes=-0"] {
            assert_eq!(within(value, 10), None, "{value}");
        }
        assert_eq!(within("bytes=0-", 0), None);
        for value in ["lines=1-2", "bytes=0-1,3-4", "bytes=a-b", "bytes"] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}

//! Arrays: one spec that stands for many jobs, each with its own index.

use std::{fmt, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::limits;

/// The indexes of an array's jobs, and how many of the jobs may be active at once.
///
/// As text: `1-100`, `0-90:10` (every tenth), `1,4,7-9`, `1-100%5` (five at once).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Ascending and disjoint.
    ranges: Vec<Range>,
    pub at_once: Option<NonZeroU32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u32,
    last: u32,
    step: NonZeroU32,
}

/// Why a text is not an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnArray(String);

impl fmt::Display for NotAnArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; write indexes like 1-100, 0-90:10 or 1,4,7-9, and %5 behind for five at once",
            self.0
        )
    }
}

impl Array {
    /// In ascending order.
    pub fn indexes(&self) -> impl Iterator<Item = u32> {
        self.ranges
            .iter()
            .flat_map(|range| (range.first..=range.last).step_by(range.step.get() as usize))
    }

    /// The number of jobs in the array; never 0.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|range| range.count()).sum()
    }
}

impl Range {
    fn count(self) -> u64 {
        u64::from((self.last - self.first) / self.step.get()) + 1
    }
}

impl FromStr for Array {
    type Err = NotAnArray;

    fn from_str(text: &str) -> Result<Self, NotAnArray> {
        let (indexes, at_once) = match text.split_once('%') {
            Some((indexes, at_once)) => (indexes, Some(number::<NonZeroU32>(at_once)?)),
            None => (text, None),
        };
        let ranges: Vec<Range> = indexes.split(',').map(str::parse).collect::<Result<_, _>>()?;
        if ranges.is_sorted_by(|one, next| one.last < next.first) {
            return Ok(Self { ranges, at_once });
        }
        Err(NotAnArray("its indexes do not ascend".to_owned()))
    }
}

impl FromStr for Range {
    type Err = NotAnArray;

    fn from_str(text: &str) -> Result<Self, NotAnArray> {
        let (range, step) = match text.split_once(':') {
            Some((range, step)) => (range, number(step)?),
            None => (text, NonZeroU32::MIN),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (index(first)?, index(last)?),
            None => (index(range)?, index(range)?),
        };
        if first > last {
            return Err(NotAnArray(format!("{range:?} ends before it begins")));
        }
        Ok(Self { first, last, step })
    }
}

fn index(text: &str) -> Result<u32, NotAnArray> {
    let index = number(text)?;
    if index > limits::ARRAY_INDEX {
        return Err(NotAnArray(format!(
            "{index} is more than {}, the highest index",
            limits::ARRAY_INDEX
        )));
    }
    Ok(index)
}

fn number<T: FromStr>(text: &str) -> Result<T, NotAnArray> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| {
        let shown: String = text.chars().take(20).collect();
        NotAnArray(format!("{shown:?} is not a number that can stand there"))
    })
}

impl fmt::Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Range { first, last, step }) in self.ranges.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{first}")?;
            if first != last {
                write!(f, "-{last}")?;
            }
            if step.get() != 1 {
                write!(f, ":{step}")?;
            }
        }
        self.at_once.map_or(Ok(()), |at_once| write!(f, "%{at_once}"))
    }
}

impl Serialize for Array {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Array {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_read_and_written() {
        for (text, indexes, at_once) in [
            ("1-4", vec![1, 2, 3, 4], None),
            ("0-90:30%2", vec![0, 30, 60, 90], Some(2)),
            ("1,4,7-9", vec![1, 4, 7, 8, 9], None),
            ("7%1", vec![7], Some(1)),
            ("0-5:4", vec![0, 4], None),
        ] {
            let array: Array = text.parse().unwrap();
            assert_eq!(array.indexes().collect::<Vec<_>>(), indexes, "{text}");
            assert_eq!(array.count(), indexes.len() as u64);
            assert_eq!(array.at_once.map(NonZeroU32::get), at_once);
            assert_eq!(array.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_array_is_refused_without_counting_it_out() {
        for text in [
            "",
            "-",
            "1-",
            "-1",
            "x",
            "1..3",
            "1-3%",
            "1-3%0",
            "1-3%x",
            "3-1",
            "1-3:0",
            "1,1",
            "1-5,3-9",
            "5,1",
            "1 - 3",
            "+1",
            "1,",
            "0-4294967295",
            "4294967296",
            "1000001",
        ] {
            assert!(text.parse::<Array>().is_err(), "{text}");
        }
    }
}

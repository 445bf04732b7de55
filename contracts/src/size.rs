//! Sizes in the notation of Docker: `"512m"`, `"1g"`, `"64MiB"`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes. As with `docker run --memory`, the units b, k, m, g and t
/// (also `kb`, `KiB` and so on, in any case) are powers of 1,024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(pub u64);

const UNITS: [(char, u64); 4] = [('t', 1 << 40), ('g', 1 << 30), ('m', 1 << 20), ('k', 1 << 10)];

impl Size {
    pub const fn mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in UNITS {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || format!("{text:?} is not a size like \"512m\" or \"1g\"");
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.len() - lower.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = lower[..digits].parse().map_err(|_| refuse())?;
        let factor = match lower[digits..].trim() {
            "" | "b" => 1,
            unit => UNITS
                .into_iter()
                .find(|(letter, _)| {
                    unit.strip_prefix(*letter).is_some_and(|rest| matches!(rest, "" | "b" | "ib"))
                })
                .map(|(_, factor)| factor)
                .ok_or_else(refuse)?,
        };
        number.checked_mul(factor).map(Self).ok_or_else(refuse)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size like \"512m\" or \"1g\", or a number of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_reads() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("1b", 1),
            ("1k", 1024),
            ("512m", 512 << 20),
            ("2GiB", 2 << 30),
            ("3 mb", 3 << 20),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "m", "-1m", "1.5g", "1x", "1mm", "99999999999t"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn writes_the_largest_whole_unit() {
        assert_eq!(Size::mib(512).to_string(), "512m");
        assert_eq!(Size(1 << 30).to_string(), "1g");
        assert_eq!(Size(1025).to_string(), "1025");
    }
}

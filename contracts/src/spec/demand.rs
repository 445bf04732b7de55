//! The part of a spec that not every worker can satisfy.

use std::{collections::BTreeMap, fmt, str::FromStr};

use super::{JobSpec, Network, Resources};

/// The part of a spec that can rule out a worker, by its [`Offer`](crate::worker::Offer) or its
/// labels.
///
/// Its text form is a line of words like `image=gcc memory=8g`. The same demand always gives the
/// same text, and a job without special demands gives an empty one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    pub image: Option<String>,
    pub network: Network,
    pub resources: Resources,
    /// Labels that the worker must have.
    pub requires: BTreeMap<String, String>,
}

impl JobSpec {
    pub fn demand(&self) -> Demand {
        let (image, network, resources) = (self.image.clone(), self.network, self.resources);
        Demand { image, network, resources, requires: self.requires.clone() }
    }
}

/// Prefix of a label's key; no other word has it.
const LABEL: &str = "label:";

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Resources { cpus, memory, pids, tmp } = self.resources;
        let network = match self.network {
            Network::None => None,
            Network::Bridge => Some("bridge".to_owned()),
        };
        let words = [
            ("image", self.image.clone()),
            ("network", network),
            ("cpus", cpus.map(|it| it.to_string())),
            ("memory", memory.map(|it| it.to_string())),
            ("pids", pids.map(|it| it.to_string())),
            ("tmp", tmp.map(|it| it.to_string())),
        ];
        let mut blank = "";
        for (word, value) in words {
            if let Some(value) = value {
                write!(f, "{blank}{word}={value}")?;
                blank = " ";
            }
        }
        for (key, value) in &self.requires {
            write!(f, "{blank}{LABEL}{key}={value}")?;
            blank = " ";
        }
        Ok(())
    }
}

impl FromStr for Demand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut demand = Self::default();
        for part in text.split_ascii_whitespace() {
            let refuse = || format!("{part:?} is no part of a demand");
            let (word, value) = part.split_once('=').ok_or_else(refuse)?;
            if let Some(key) = word.strip_prefix(LABEL) {
                demand.requires.insert(key.to_owned(), value.to_owned());
                continue;
            }
            let Resources { cpus, memory, pids, tmp } = &mut demand.resources;
            match word {
                "image" => demand.image = Some(value.to_owned()),
                "network" if value == "bridge" => demand.network = Network::Bridge,
                "cpus" => *cpus = Some(value.parse().map_err(|_| refuse())?),
                "memory" => *memory = Some(value.parse().map_err(|_| refuse())?),
                "pids" => *pids = Some(value.parse().map_err(|_| refuse())?),
                "tmp" => *tmp = Some(value.parse().map_err(|_| refuse())?),
                _ => return Err(refuse()),
            }
        }
        Ok(demand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;

    #[test]
    fn the_same_demand_is_the_same_text() {
        assert_eq!(JobSpec::new("true").demand().to_string(), "");
        let resources = Resources {
            cpus: Some(2.0),
            memory: Some(Size::mib(8192)),
            pids: Some(64),
            tmp: Some(Size(1025)),
        };
        let requires = [("zone", "a"), ("gpu", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let (image, requires) = (Some("gcc".to_owned()), requires.into());
        let demand = Demand { image, network: Network::Bridge, resources, requires };
        let text = "image=gcc network=bridge cpus=2 memory=8g pids=64 tmp=1025 \
                    label:gpu= label:zone=a";
        assert_eq!(demand.to_string(), text);
        assert_eq!(text.parse(), Ok(demand));
        assert_eq!("".parse(), Ok(Demand::default()));
    }

    #[test]
    fn what_this_version_does_not_know_is_not_read() {
        for text in ["gpu=1", "label", "memory", "memory=much", "network=host"] {
            assert!(text.parse::<Demand>().is_err(), "{text}");
        }
    }
}

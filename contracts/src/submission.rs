//! What `POST /api/job` takes: one job, or many in a list.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use crate::JobSpec;

/// One spec, or a list of them, which are all accepted or none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Specs {
    One(Box<JobSpec>),
    Many(Vec<JobSpec>),
}

impl Specs {
    pub fn as_slice(&self) -> &[JobSpec] {
        match self {
            Self::One(spec) => std::slice::from_ref(spec),
            Self::Many(specs) => specs,
        }
    }

    /// Whether the answer is a job, not a list: one spec was sent, and it is no array.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::One(spec) if spec.array.is_none())
    }
}

impl<'de> Deserialize<'de> for Specs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Both;
        impl<'de> Visitor<'de> for Both {
            type Value = Specs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a job, or a list of jobs")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Specs, A::Error> {
                JobSpec::deserialize(MapAccessDeserializer::new(map))
                    .map(|spec| Specs::One(Box::new(spec)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Specs, A::Error> {
                let mut specs = Vec::new();
                while let Some(Listed(spec)) = list.next_element()? {
                    specs.push(spec);
                }
                Ok(Specs::Many(specs))
            }
        }
        deserializer.deserialize_any(Both)
    }
}

/// Serde would take the fields of a job from a list as well, by position.
#[derive(Deserialize)]
#[serde(transparent)]
struct Listed(#[serde(deserialize_with = "crate::spec::object_only")] JobSpec);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Specs, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn one_or_many() {
        let one = JobSpec::new("true");
        assert_eq!(read(r#"{"command": "true"}"#), Ok(Specs::One(Box::new(one.clone()))));
        assert_eq!(read(r#"[{"command": "true"}]"#), Ok(Specs::Many(vec![one])));
        assert_eq!(read("[]"), Ok(Specs::Many(vec![])));
    }

    #[test]
    fn nothing_else() {
        for json in
            ["7", "\"true\"", "null", r#"[["true"]]"#, r#"[[{"command": "true"}]]"#, "[null]"]
        {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn an_array_is_answered_with_a_list() {
        let is_single = |json| read(json).unwrap().is_single();
        assert!(is_single(r#"{"command": "true"}"#));
        assert!(!is_single(r#"{"command": "true", "array": "1-2"}"#));
        assert!(!is_single(r#"[{"command": "true"}]"#));
    }
}

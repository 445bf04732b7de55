//! Values that only the job may see.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, SeqAccess, Visitor},
};

/// The value of a secret. It is in plain text on the way from the submitter to the master and from
/// the master to the worker that holds the lease, sealed in the database, and [`Secret::hidden`]
/// everywhere else. `Debug` and error messages never show it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The mask that replaces a value in responses and logs.
    pub const MASK: &str = "***";

    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// A placeholder that reveals only that there is a secret. It is too short to be submitted, so
    /// a spec that was read back cannot run with asterisks for values.
    pub fn hidden() -> Self {
        Self::new(Self::MASK)
    }

    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Value)
    }
}

/// Reads the `secrets` of a spec. Serde's own errors would quote what was sent in place of an
/// object.
pub(crate) fn all<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Secret>, D::Error> {
    deserializer.deserialize_any(Object)
}

struct Value;
struct Object;

/// Refuses every other type without quoting the input.
macro_rules! refuse {
    ($($method:ident: $type:ty),+) => {
        $(fn $method<E: de::Error>(self, _: $type) -> Result<Self::Value, E> {
            Err(E::custom(Self::SENTENCE))
        })+

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Err(E::custom(Self::SENTENCE))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
            Err(de::Error::custom(Self::SENTENCE))
        }

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(Self::SENTENCE)
        }
    };
}

impl Value {
    const SENTENCE: &str = "the value of a secret is a string";
}

impl<'de> Visitor<'de> for Value {
    type Value = Secret;

    refuse!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Secret, E> {
        Ok(Secret(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Secret, A::Error> {
        Err(de::Error::custom(Self::SENTENCE))
    }
}

impl Object {
    const SENTENCE: &str = "secrets are an object: names with their values";
}

impl<'de> Visitor<'de> for Object {
    type Value = BTreeMap<String, Secret>;

    refuse!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut secrets = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            secrets.insert(name, value);
        }
        Ok(secrets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobSpec;

    #[test]
    fn a_secret_does_not_print() {
        let mut spec = JobSpec::new("true");
        spec.secrets = [("TOKEN".to_owned(), Secret::new("hunter2hunter2"))].into();
        let shown = format!("{spec:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn it_travels_as_it_is() {
        let text = r#"{"command":"true","secrets":{"TOKEN":"hunter2hunter2"}}"#;
        let spec: JobSpec = serde_json::from_str(text).unwrap();
        assert_eq!(spec.secrets["TOKEN"].expose(), "hunter2hunter2");
        let again: JobSpec = serde_json::from_value(serde_json::to_value(&spec).unwrap()).unwrap();
        assert_eq!(again, spec);
    }

    #[test]
    fn no_refusal_quotes_what_was_sent() {
        for wrong in [
            r#"{"A": 424242}"#,
            r#"{"A": 4242.42}"#,
            r#"{"A": true}"#,
            r#"{"A": null}"#,
            r#"{"A": ["424242"]}"#,
            r#"{"A": {"424242": 1}}"#,
            r#""424242""#,
            r#"["424242"]"#,
            "424242",
            "null",
        ] {
            let text = format!(r#"{{"command": "true", "secrets": {wrong}}}"#);
            let error = serde_json::from_str::<JobSpec>(&text).unwrap_err().to_string();
            assert!(!error.contains("42"), "{wrong}: {error}");
            assert!(error.contains("secret"), "{wrong}: {error}");
        }
    }
}

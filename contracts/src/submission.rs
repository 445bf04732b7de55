//! The body of `POST /api/job`: one job, or a list of jobs.

use crate::{JobSpec, OneOrMany};

/// One spec, or a list of specs, of which all are accepted or none.
pub type Specs = OneOrMany<JobSpec>;

impl Specs {
    /// Whether the answer is a single job and not a list: one spec was sent, and it is no array.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::One(spec) if spec.array.is_none())
    }
}

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

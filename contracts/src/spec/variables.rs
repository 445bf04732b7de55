//! Validation of environment variables and secrets. Error messages never contain a value.

use super::{
    JobSpec,
    check::{Checks, escape_pointer, limits},
};
use crate::JobId;

impl JobSpec {
    /// The variables that Orchestra sets for the command, besides `ORCHESTRA_ATTEMPT`. For a job of
    /// an array, `element` is the array's id and the job's own index.
    pub fn own_variables(
        &self,
        job: JobId,
        element: Option<(JobId, u32)>,
    ) -> Vec<(&'static str, String)> {
        let mut own = vec![("ORCHESTRA_JOB_ID", job.to_string())];
        if let (Some((id, index)), Some(array)) = (element, &self.array) {
            own.extend([
                ("ORCHESTRA_ARRAY_ID", id.to_string()),
                ("ORCHESTRA_ARRAY_INDEX", index.to_string()),
                ("ORCHESTRA_ARRAY_SIZE", array.count().to_string()),
            ]);
        }
        own
    }

    pub(super) fn check_env(&self, checks: &mut Checks) {
        checks.refuse_if(
            self.env.len() > limits::ENV_ENTRIES,
            "/env",
            format!("has more than {} entries", limits::ENV_ENTRIES),
        );
        let total: usize = self.env.iter().map(|(key, value)| key.len() + value.len()).sum();
        checks.refuse_if(
            total > limits::ENV_BYTES,
            "/env",
            format!("has more than {} bytes altogether", limits::ENV_BYTES),
        );
        for (key, value) in &self.env {
            let pointer = format!("/env/{}", escape_pointer(key));
            checks.variable(&pointer, key, value, limits::ENV_VALUE_BYTES);
        }
    }

    pub(super) fn check_secrets(&self, checks: &mut Checks) {
        checks.refuse_if(
            self.secrets.len() > limits::SECRETS,
            "/secrets",
            format!("has more than {} entries", limits::SECRETS),
        );
        let total: usize = self.secrets.values().map(|value| value.expose().len()).sum();
        checks.refuse_if(
            total > limits::SECRETS_BYTES,
            "/secrets",
            format!("has more than {} bytes altogether", limits::SECRETS_BYTES),
        );
        for (key, value) in &self.secrets {
            let (pointer, value) = (format!("/secrets/{}", escape_pointer(key)), value.expose());
            checks.variable(&pointer, key, value, limits::SECRET_BYTES);
            checks.refuse_if(self.env.contains_key(key), &pointer, "is in env as well");
            checks.refuse_if(
                value.trim().len() < limits::SECRET_BYTES_MIN,
                &pointer,
                format!(
                    "has less than {} bytes, and logs cannot be masked for it without masking \
                     ordinary words; choose a longer secret, or use env for what need not be hidden",
                    limits::SECRET_BYTES_MIN
                ),
            );
        }
    }
}

impl Checks {
    /// Validates one variable.
    fn variable(&mut self, pointer: &str, name: &str, value: &str, most: usize) {
        self.refuse_if(
            !is_env_name(name),
            pointer,
            "is not a variable name: letters, digits and '_', not beginning with a digit",
        );
        self.refuse_if(
            name.starts_with("ORCHESTRA_"),
            pointer,
            "begins with ORCHESTRA_, which is kept for Orchestra itself",
        );
        self.refuse_if(value.contains('\0'), pointer, "contains a NUL character");
        self.refuse_if(value.len() > most, pointer, format!("has more than {most} bytes"));
    }
}

fn is_env_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 256
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn env(name: &str) -> Vec<String> {
        let mut spec = JobSpec::new("true");
        spec.env = [(name.to_owned(), "x".to_owned())].into();
        spec.validate().into_iter().map(|error| error.pointer).collect()
    }

    fn secrets(secrets: &[(&str, &str)]) -> Vec<String> {
        let mut spec = JobSpec::new("true");
        spec.env = [("HOST".to_owned(), "x".to_owned())].into();
        spec.secrets =
            secrets.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
        let errors = spec.validate();
        let told = format!("{errors:?}");
        assert!(secrets.iter().all(|(_, value)| !told.contains(value.trim())), "{told}");
        errors.into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn every_refusal_points_at_its_variable() {
        assert_eq!(env("A"), [""; 0]);
        assert_eq!(env("A/B"), ["/env/A~1B"]);
        assert_eq!(env("ORCHESTRA_X"), ["/env/ORCHESTRA_X"]);
        let long = "#".repeat(limits::SECRET_BYTES + 1);
        let half = "#".repeat(limits::SECRETS_BYTES / 2 - 10);
        assert_eq!(secrets(&[("A", "%%%%%%%%")]), [""; 0]);
        assert_eq!(secrets(&[("A", "%%%%%%%")]), ["/secrets/A"]);
        assert_eq!(secrets(&[("A", "   %%%%%%%\n")]), ["/secrets/A"]);
        assert_eq!(secrets(&[("1A", "%%%%%%%%")]), ["/secrets/1A"]);
        assert_eq!(secrets(&[("HOST", "%%%%%%%%")]), ["/secrets/HOST"]);
        assert_eq!(secrets(&[("ORCHESTRA_A", "%%%%%%%%")]), ["/secrets/ORCHESTRA_A"]);
        assert_eq!(secrets(&[("A", "%%%%%%%%\0")]), ["/secrets/A"]);
        assert_eq!(secrets(&[("A", &long)]), ["/secrets/A"]);
        assert_eq!(secrets(&[("A", &half), ("B", &half)]), [""; 0]);
        assert_eq!(secrets(&[("A", &half), ("B", &half), ("C", &half)]), ["/secrets"]);
        let names: Vec<_> = (0..=limits::SECRETS).map(|n| format!("S{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "%%%%%%%%")).collect();
        assert_eq!(secrets(&many), ["/secrets"]);
    }

    /// A spec that was read back holds asterisks in place of secrets, and must not run with them.
    #[test]
    fn a_hidden_secret_is_no_secret() {
        assert_eq!(secrets(&[("A", Secret::MASK)]), ["/secrets/A"]);
    }
}

//! The complete environment of a job. None of the worker's own variables get in.

use std::collections::BTreeMap;

use crate::executor::RunSpec;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const DEFAULTS: [(&str, &str); 5] = [
    ("PATH", PATH),
    // The root is read-only and worker-files is shared.
    ("HOME", "/tmp"),
    ("LANG", "C.UTF-8"),
    ("USER", "job"),
    ("LOGNAME", "job"),
];

/// The default variables that this image does not define itself.
pub(super) fn defaults_beside(image: &[String]) -> BTreeMap<String, String> {
    let has = |name: &str| {
        image.iter().any(|entry| entry.split_once('=').is_some_and(|(it, _)| it == name))
    };
    let ours = DEFAULTS.into_iter().filter(|(name, _)| !has(name));
    ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Merges the defaults, the image's variables, and the job's with its secrets. Later ones win,
/// except over the `ORCHESTRA_` names, which a spec may not contain.
pub(super) fn environment(image: &[String], spec: &RunSpec) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (own, attempt) =
        (spec.spec.own_variables(spec.job, spec.element), spec.attempt.to_string());
    let mut all: BTreeMap<&str, &str> = DEFAULTS.into();
    all.extend(image.iter().filter_map(|entry| entry.split_once('=')));
    all.extend(spec.spec.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    all.extend(spec.spec.secrets.iter().map(|(name, value)| (name.as_str(), value.expose())));
    all.extend(own.iter().map(|(name, value)| (*name, value.as_str())));
    all.insert("ORCHESTRA_ATTEMPT", &attempt);
    all.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orchestra_contracts::{AttemptNo, JobId, JobSpec, Secret};

    use super::*;
    use crate::executor::uploads;

    #[test]
    fn the_job_wins_over_the_image_and_the_image_over_us() {
        let mut job = JobSpec::new("true");
        job.env = [("A".into(), "job".into()), ("ORCHESTRA_ATTEMPT".into(), "9".into())].into();
        job.array = "1-9:2".parse().ok();
        job.secrets = [("KEY".into(), Secret::new("in clear"))].into();
        let spec = RunSpec {
            job: JobId(7),
            attempt: AttemptNo(2),
            element: Some((JobId(5), 3)),
            spec: job,
            uploads: Arc::new(uploads::NoUploads),
        };
        let image = ["A=image".into(), "PATH=/opt/bin".into(), "odd".into()];
        let all: BTreeMap<_, _> = environment(&image, &spec)
            .into_iter()
            .map(|(name, value)| {
                (String::from_utf8(name).unwrap(), String::from_utf8(value).unwrap())
            })
            .collect();
        let expected = [
            ("A", "job"),
            ("HOME", "/tmp"),
            ("KEY", "in clear"),
            ("LANG", "C.UTF-8"),
            ("LOGNAME", "job"),
            ("ORCHESTRA_ARRAY_ID", "5"),
            ("ORCHESTRA_ARRAY_INDEX", "3"),
            ("ORCHESTRA_ARRAY_SIZE", "5"),
            ("ORCHESTRA_ATTEMPT", "2"),
            ("ORCHESTRA_JOB_ID", "7"),
            ("PATH", "/opt/bin"),
            ("USER", "job"),
        ];
        assert_eq!(all, expected.map(|(name, value)| (name.into(), value.into())).into());
    }
}

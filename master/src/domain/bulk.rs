//! Plans a submission: expands arrays, and resolves names of jobs within the same call.

use std::collections::HashMap;

use orchestra_contracts::{Condition, FieldError, JobId, JobRef, JobSpec, limits};

/// A job that is to be inserted.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    pub spec: JobSpec,
    /// Its place in an array: the position of the array's first job among the call's jobs, and its
    /// own index.
    pub element: Option<(usize, u32)>,
    /// The jobs that it depends on; no duplicates.
    pub after: Vec<(Condition, Upstream)>,
}

/// A job that another job depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Upstream {
    Known(JobId),
    /// A job of the same call, by its position.
    Fellow(usize),
}

impl From<JobSpec> for NewJob {
    /// A job outside any array that depends on jobs by id only.
    fn from(spec: JobSpec) -> Self {
        let known =
            |(condition, job): (Condition, &JobRef)| Some((condition, Upstream::Known(job.id()?)));
        let after = spec.waits_for().filter_map(known).collect();
        Self { spec, element: None, after }
    }
}

impl NewJob {
    /// The spec to store, with the ids of the call's jobs in place of names.
    pub fn settled(&self, ids: &[JobId]) -> JobSpec {
        let mut spec = self.spec.clone();
        for condition in Condition::ALL {
            let its = self.after.iter().filter(|(of, _)| *of == condition);
            *spec.after_with_mut(condition) =
                its.filter_map(|(_, job)| Some(JobRef::Id(job.id(ids)?))).collect();
        }
        spec
    }
}

impl Upstream {
    pub fn id(self, ids: &[JobId]) -> Option<JobId> {
        match self {
            Self::Known(id) => Some(id),
            Self::Fellow(place) => ids.get(place).copied(),
        }
    }
}

/// All jobs of a call in order, or its errors, with pointers like `/2/after/0`.
pub fn plan(specs: &[JobSpec]) -> Result<Vec<NewJob>, Vec<FieldError>> {
    let total: u64 = specs.iter().map(count).sum();
    if total > limits::JOBS as u64 {
        let detail = format!("are {total} jobs, at most {} can be submitted at once", limits::JOBS);
        return Err(vec![FieldError { pointer: String::new(), detail }]);
    }
    let spans = spans(specs);
    let mut errors = Vec::new();
    let wanted = names(specs, &mut errors);
    let mut upstreams: Vec<Vec<(Condition, Upstream)>> = Vec::with_capacity(specs.len());
    for (place, spec) in specs.iter().enumerate() {
        let mut its = Vec::new();
        for (condition, job) in spec.waits_for() {
            match job {
                JobRef::Id(id) => its.push((condition, Upstream::Known(*id))),
                JobRef::Name(_) => {
                    let fellows = wanted.get(&(place, condition, job)).map(|at| spans[*at].clone());
                    its.extend(
                        fellows.into_iter().flatten().map(|it| (condition, Upstream::Fellow(it))),
                    );
                }
            }
        }
        if its.len() > limits::AFTER {
            let detail =
                format!("waits for {} jobs, at most {} are allowed", its.len(), limits::AFTER);
            errors.push(FieldError { pointer: format!("/{place}/after"), detail });
        }
        upstreams.push(its);
    }
    let together: usize =
        specs.iter().zip(&upstreams).map(|(spec, its)| its.len() * count(spec) as usize).sum();
    if together > limits::AFTER_TOGETHER {
        let detail = format!(
            "wait for {together} jobs together, at most {} are allowed; let one job stand between",
            limits::AFTER_TOGETHER
        );
        errors.push(FieldError { pointer: String::new(), detail });
    }
    errors.extend(circle(specs, &wanted));
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut jobs = Vec::with_capacity(total as usize);
    for (spec, after) in specs.iter().zip(upstreams) {
        let first = jobs.len();
        let new = |element| NewJob { spec: spec.clone(), element, after: after.clone() };
        match &spec.array {
            None => jobs.push(new(None)),
            Some(array) => jobs.extend(array.indexes().map(|index| new(Some((first, index))))),
        }
    }
    Ok(jobs)
}

fn count(spec: &JobSpec) -> u64 {
    spec.array.as_ref().map_or(1, orchestra_contracts::Array::count)
}

/// The range of each spec's jobs among all jobs.
fn spans(specs: &[JobSpec]) -> Vec<std::ops::Range<usize>> {
    let mut begin = 0;
    let span = |spec: &JobSpec| {
        let span = begin..begin + count(spec) as usize;
        begin = span.end;
        span
    };
    specs.iter().map(span).collect()
}

/// The position of the spec that each name refers to.
type Wanted<'a> = HashMap<(usize, Condition, &'a JobRef), usize>;

fn names<'a>(specs: &'a [JobSpec], errors: &mut Vec<FieldError>) -> Wanted<'a> {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, spec) in specs.iter().enumerate() {
        if let Some(name) = &spec.name {
            by_name.entry(name).or_default().push(place);
        }
    }
    let mut wanted = HashMap::new();
    for (place, spec) in specs.iter().enumerate() {
        for condition in Condition::ALL {
            for (number, job) in spec.after_with(condition).iter().enumerate() {
                let JobRef::Name(name) = job else { continue };
                let detail = match by_name.get(name.as_str()).map(Vec::as_slice) {
                    Some(&[at]) => {
                        wanted.insert((place, condition, job), at);
                        continue;
                    }
                    Some(_) => format!("{name:?} is the name of several jobs of this call"),
                    None => format!(
                        "no job of this call has the name {name:?}; others are named by their ids"
                    ),
                };
                let pointer = format!("/{place}/{}/{number}", condition.field());
                errors.push(FieldError { pointer, detail });
            }
        }
    }
    wanted
}

/// Finds a job that depends on itself, directly or through others.
fn circle(specs: &[JobSpec], wanted: &Wanted<'_>) -> Option<FieldError> {
    let mut waits_for: Vec<Vec<usize>> = vec![Vec::new(); specs.len()];
    let mut waited_for: Vec<usize> = vec![0; specs.len()];
    for ((place, ..), at) in wanted {
        waits_for[*place].push(*at);
        waited_for[*at] += 1;
    }
    // Kahn's algorithm: repeatedly remove the jobs that nothing depends on; cycles remain.
    let mut free: Vec<usize> = (0..specs.len()).filter(|place| waited_for[*place] == 0).collect();
    let mut left = specs.len();
    while let Some(place) = free.pop() {
        left -= 1;
        for at in &waits_for[place] {
            waited_for[*at] -= 1;
            if waited_for[*at] == 0 {
                free.push(*at);
            }
        }
    }
    if left == 0 {
        return None;
    }
    // Each remaining job has a remaining dependent, so walking from dependent to dependent ends in
    // a cycle: when a job is visited twice.
    let mut place = waited_for.iter().position(|count| *count > 0)?;
    let mut way = Vec::new();
    while !way.contains(&place) {
        way.push(place);
        let is_left =
            |waiter: &usize| waited_for[*waiter] > 0 && waits_for[*waiter].contains(&place);
        place = (0..specs.len()).find(is_left)?;
    }
    let begin = way.iter().position(|at| *at == place)?;
    way.push(place);
    let name = |at: &usize| specs[*at].name.clone().unwrap_or_default();
    let names: Vec<String> = way[begin..].iter().rev().take(8).map(name).collect();
    let detail = format!("waits for itself: {}", names.join(" after "));
    Some(FieldError { pointer: format!("/{place}"), detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, after: &[&str]) -> JobSpec {
        let after = after.iter().map(|name| JobRef::Name((*name).to_owned())).collect();
        JobSpec { name: Some(name.to_owned()), after, ..JobSpec::new("true") }
    }

    fn refused(specs: &[JobSpec]) -> Vec<(String, String)> {
        let errors = plan(specs).unwrap_err();
        errors.into_iter().map(|error| (error.pointer, error.detail)).collect()
    }

    #[test]
    fn names_are_found_wherever_they_stand() {
        let known = JobSpec { after_any: vec![JobRef::Id(JobId(7))], ..spec("c", &["a", "b"]) };
        let jobs = plan(&[known, spec("a", &["b"]), spec("b", &[])]).unwrap();
        let after = |at: usize| jobs[at].after.clone();
        let ok = |at| (Condition::AfterOk, Upstream::Fellow(at));
        assert_eq!(after(0), [ok(1), ok(2), (Condition::AfterAny, Upstream::Known(JobId(7)))]);
        assert_eq!((after(1), after(2)), (vec![ok(2)], vec![]));
        let settled = jobs[0].settled(&[JobId(11), JobId(12), JobId(13)]);
        assert_eq!(settled.after, [JobRef::Id(JobId(12)), JobRef::Id(JobId(13))]);
        assert_eq!(settled.after_any, [JobRef::Id(JobId(7))]);
    }

    #[test]
    fn an_array_is_spread_out_and_its_name_means_all_of_it() {
        let array = JobSpec { array: "3-9:3".parse().ok(), ..spec("many", &[]) };
        let jobs = plan(&[spec("first", &[]), array, spec("last", &["many"])]).unwrap();
        let elements: Vec<_> = jobs.iter().map(|job| job.element).collect();
        assert_eq!(elements, [None, Some((1, 3)), Some((1, 6)), Some((1, 9)), None]);
        let fellows: Vec<_> = jobs[4].after.iter().map(|(_, job)| *job).collect();
        assert_eq!(fellows, [1, 2, 3].map(Upstream::Fellow));
    }

    #[test]
    fn whoever_waits_for_itself_is_told_the_way() {
        assert_eq!(
            refused(&[spec("a", &["a"])]),
            [("/0".into(), "waits for itself: a after a".into())]
        );
        let specs = [
            spec("x", &["a"]),
            spec("a", &["b"]),
            spec("b", &["c"]),
            spec("c", &["a"]),
            spec("y", &[]),
        ];
        let refusals = refused(&specs);
        let [(pointer, detail)] = &refusals[..] else { panic!("one circle") };
        assert!(detail.ends_with("a after b after c after a"), "{pointer} {detail}");
        // Neither the jobs that depend on the cycle nor those that it depends on count as part of
        // it.
        let specs = [spec("e", &[]), spec("a", &["e", "b"]), spec("b", &["a"])];
        assert_eq!(refused(&specs)[0].1, "waits for itself: a after b after a");
    }

    #[test]
    fn a_name_that_means_nothing_or_too_much_is_refused() {
        let specs = [spec("a", &[]), spec("a", &[]), spec("b", &["a", "z"])];
        let refused = refused(&specs);
        let pointers: Vec<&str> = refused.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(pointers, ["/2/after/0", "/2/after/1"]);
        assert!(refused[0].1.contains("several") && refused[1].1.contains("no job"), "{refused:?}");
    }

    #[test]
    fn what_would_be_too_many_is_refused_before_it_is_spread_out() {
        let array = |text: &str| JobSpec { array: text.parse().ok(), ..spec(text, &[]) };
        assert!(refused(&[array("0-9999"), array("1")])[0].1.contains("10001 jobs"));
        let after = JobSpec { after: vec![JobRef::Name("0-1999".into())], ..array("1-2") };
        assert_eq!(refused(&[array("0-1999"), after])[0].0, "/1/after");
        let after = JobSpec { after: vec![JobRef::Name("0-999".into())], ..array("1-101") };
        assert!(refused(&[array("0-999"), after])[0].1.contains("101000 jobs together"));
    }
}

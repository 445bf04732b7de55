//! The limits that a worker's operator sets for jobs. Both sides enforce them with the same code:
//! the master before it hands out a job, the worker before it runs it.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    fmt::{self, Display},
};

use serde::{Deserialize, Serialize};

use crate::{
    Demand, FieldError, ImagePattern, ImageReference, Network, Size,
    spec::{
        check::{Checks, is_image_name},
        limits,
    },
};

/// The most that a job may ask of a worker, and the images that the worker has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Offer {
    /// Processor cores.
    pub cpus: f64,
    pub memory: Size,
    /// Processes and threads together.
    pub pids: u32,
    /// Size of `/tmp`.
    pub tmp: Size,
    /// The widest network that a job may have.
    #[serde(default)]
    pub network: Network,
    /// The names of its image folders at this moment; more may be added at any time.
    #[serde(default)]
    pub images: BTreeSet<String>,
    /// The registry images that it may pull; none unless its operator allows them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub references: BTreeSet<ImagePattern>,
    /// The engine's runtime, if it is not the engine's default; informational.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The user that jobs run as, like `1000:1000`; informational.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// One demand of a job that an offer does not cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitExceeded {
    /// The field of the spec, as a JSON pointer.
    pub pointer: &'static str,
    asked: String,
    /// `None` if the offer has none at all.
    most: Option<String>,
}

impl Offer {
    /// Every way in which the demand exceeds the offer. Registry images count; image folders do
    /// not, because one can be added at any time.
    pub fn excesses(&self, demand: &Demand) -> Vec<LimitExceeded> {
        let wanted = &demand.resources;
        let mut all = Vec::new();
        all.extend(beyond("/resources/cpus", wanted.cpus, self.cpus));
        all.extend(beyond("/resources/memory", wanted.memory, self.memory));
        all.extend(beyond("/resources/pids", wanted.pids, self.pids));
        all.extend(beyond("/resources/tmp", wanted.tmp, self.tmp));
        if demand.network != Network::None && self.network == Network::None {
            let asked = "a network".to_owned();
            all.push(LimitExceeded { pointer: "/network", asked, most: None });
        }
        if let Some(image) = demand.image.as_deref().filter(|image| !self.may_have(image)) {
            let asked = format!("the image {image} of a registry");
            all.push(LimitExceeded { pointer: "/image", asked, most: None });
        }
        all
    }

    /// Whether the image is the name of a folder, which needs no permission, or a reference that
    /// the offer allows.
    fn may_have(&self, image: &str) -> bool {
        !ImageReference::is_meant(image)
            || image.parse().is_ok_and(|it| self.references.iter().any(|rule| rule.allows(&it)))
    }

    /// Whether the demand stays within the offer.
    pub fn allows(&self, demand: &Demand) -> bool {
        self.excesses(demand).is_empty()
    }

    /// The larger of both offers, field by field.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            cpus: self.cpus.max(other.cpus),
            memory: self.memory.max(other.memory),
            pids: self.pids.max(other.pids),
            tmp: self.tmp.max(other.tmp),
            network: if self.network == Network::None { other.network } else { self.network },
            images: &self.images | &other.images,
            references: &self.references | &other.references,
            runtime: None,
            user: None,
        }
    }

    /// Returns every error in the offer, with pointers into the offer.
    pub fn validate(&self) -> Vec<FieldError> {
        let mut checks = Checks::default();
        checks.refuse_if(
            !(self.cpus.is_finite() && self.cpus > 0.0),
            "/cpus",
            "is not a number of cores above 0",
        );
        checks.refuse_if(
            self.images.len() > limits::OFFER_IMAGES,
            "/images",
            format!("has more than {} entries", limits::OFFER_IMAGES),
        );
        checks.refuse_if(
            !self.images.iter().all(|name| is_image_name(name)),
            "/images",
            "has an entry that is not the name of a folder under images/",
        );
        checks.refuse_if(
            self.references.len() > limits::OFFER_IMAGES,
            "/references",
            format!("has more than {} entries", limits::OFFER_IMAGES),
        );
        for (pointer, text) in [("/runtime", &self.runtime), ("/user", &self.user)] {
            checks.refuse_if(
                text.as_ref().is_some_and(|text| text.len() > limits::OFFER_TEXT_BYTES),
                pointer,
                format!("has more than {} bytes", limits::OFFER_TEXT_BYTES),
            );
        }
        checks.into_errors()
    }
}

fn beyond<T: PartialOrd + Display + Copy>(
    pointer: &'static str,
    wanted: Option<T>,
    most: T,
) -> Option<LimitExceeded> {
    // A value that cannot be compared counts as too large.
    let asked = wanted.filter(|wanted| wanted.partial_cmp(&most).is_none_or(Ordering::is_gt))?;
    Some(LimitExceeded { pointer, asked: asked.to_string(), most: Some(most.to_string()) })
}

impl LimitExceeded {
    /// The error for the submitter, where `nobody` names the group that does not allow it, like "no
    /// worker".
    pub fn refused_by(&self, nobody: &str) -> FieldError {
        let Self { pointer, asked, most } = self;
        let detail = match most {
            Some(most) => format!("asks for {asked}, and {nobody} allows more than {most}"),
            None => format!("asks for {asked}, and {nobody} allows one"),
        };
        FieldError { pointer: (*pointer).to_owned(), detail }
    }

    /// The same for a demand that would be allowed by itself, but not together with the rest of the
    /// job.
    pub fn refused_with_the_rest(&self, nobody: &str) -> FieldError {
        let Self { pointer, asked, .. } = self;
        let detail = format!("asks for {asked}, and {nobody} allows that together with the rest");
        FieldError { pointer: (*pointer).to_owned(), detail }
    }
}

/// The limits, without images: `4 cpus, 8g memory, 4096 pids, 1g /tmp`.
impl Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpus, memory, pids, tmp, .. } = self;
        write!(f, "{cpus} cpus, {memory} memory, {pids} pids, {tmp} /tmp")
    }
}

impl LimitExceeded {
    /// The excess as a predicate for a worker in the third person.
    pub fn of_a_worker(&self) -> String {
        let field = self.pointer.trim_start_matches('/').replace('/', ".");
        let Self { asked, most, .. } = self;
        match most {
            Some(most) => format!("allows {field} = {most} at most, where {asked} is asked for"),
            None => format!("allows none where {asked} is asked for"),
        }
    }
}

/// The excess in the worker's own words.
impl Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.pointer.trim_start_matches('/').replace('/', ".");
        let Self { asked, most, .. } = self;
        match most {
            Some(most) => {
                write!(f, "it asks for {field} = {asked}, and this worker allows at most {most}")
            }
            None => write!(f, "it asks for {asked}, and this worker's operator allows none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobSpec, Resources};

    fn offer() -> Offer {
        Offer {
            cpus: 2.0,
            memory: Size::mib(4096),
            pids: 100,
            tmp: Size::mib(64),
            network: Network::None,
            images: ["gcc".to_owned()].into(),
            references: BTreeSet::new(),
            runtime: None,
            user: None,
        }
    }

    fn asks(resources: Resources) -> Demand {
        Demand { resources, ..Demand::default() }
    }

    #[test]
    fn what_goes_beyond_is_named_with_its_figures() {
        let demand = Demand {
            network: Network::Bridge,
            ..asks(Resources {
                cpus: Some(2.5),
                memory: Some(Size::mib(8192)),
                pids: Some(101),
                tmp: Some(Size::mib(65)),
            })
        };
        let excesses = offer().excesses(&demand);
        let all: Vec<_> = excesses
            .iter()
            .map(|it| it.refused_by("no worker"))
            .map(|error| format!("{} {}", error.pointer, error.detail))
            .collect();
        assert_eq!(
            all,
            [
                "/resources/cpus asks for 2.5, and no worker allows more than 2",
                "/resources/memory asks for 8g, and no worker allows more than 4g",
                "/resources/pids asks for 101, and no worker allows more than 100",
                "/resources/tmp asks for 65m, and no worker allows more than 64m",
                "/network asks for a network, and no worker allows one",
            ]
        );
        assert_eq!(
            excesses[1].of_a_worker(),
            "allows resources.memory = 4g at most, where 8g is asked for"
        );
        assert_eq!(excesses[4].of_a_worker(), "allows none where a network is asked for");
        assert_eq!(
            excesses[1].to_string(),
            "it asks for resources.memory = 8g, and this worker allows at most 4g"
        );
        assert_eq!(
            excesses[4].to_string(),
            "it asks for a network, and this worker's operator allows none"
        );
    }

    #[test]
    fn what_is_within_is_allowed_and_an_image_is_no_matter_of_limits() {
        let most = asks(Resources {
            cpus: Some(2.0),
            memory: Some(Size::mib(4096)),
            pids: Some(100),
            tmp: Some(Size::mib(64)),
        });
        let elsewhere = JobSpec { image: Some("rust".into()), ..JobSpec::new("true") }.demand();
        for demand in [Demand::default(), most, elsewhere] {
            assert!(offer().allows(&demand), "{demand}");
        }
        assert!(!offer().allows(&asks(Resources { cpus: Some(f64::NAN), ..Resources::default() })));
    }

    #[test]
    fn an_image_of_a_registry_is_allowed_where_a_pattern_lets_it_in() {
        let asks = |image: &str| Demand { image: Some(image.to_owned()), ..Demand::default() };
        let open = Offer { references: ["docker.io/library/*".parse().unwrap()].into(), ..offer() };
        assert!(open.allows(&asks("python:3.12")) && open.allows(&asks("any-folder")));
        assert!(!open.allows(&asks("ghcr.io/library/python:3.12")));
        // A malformed reference is never allowed by a pattern.
        assert!(!open.allows(&asks("docker.io/library/../x")));
        let excesses = offer().excesses(&asks("python:3.12"));
        assert_eq!(
            excesses.iter().map(|it| it.refused_by("no worker").detail).collect::<Vec<_>>(),
            ["asks for the image python:3.12 of a registry, and no worker allows one"]
        );
        assert_eq!(offer().or(&open).references.len(), 1);
    }

    #[test]
    fn two_offers_make_the_best_of_both() {
        let other = Offer {
            memory: Size::mib(1),
            pids: 200,
            network: Network::Bridge,
            images: ["rust".to_owned()].into(),
            ..offer()
        };
        let best = offer().or(&other);
        assert_eq!(best.to_string(), "2 cpus, 4g memory, 200 pids, 64m /tmp");
        assert_eq!((best.network, best.images.len()), (Network::Bridge, 2));
        assert_eq!(best, other.or(&offer()));
    }

    #[test]
    fn a_wrong_offer_is_pointed_at() {
        let pointers = |change: &dyn Fn(&mut Offer)| -> Vec<String> {
            let mut offer = offer();
            change(&mut offer);
            offer.validate().into_iter().map(|error| error.pointer).collect()
        };
        assert_eq!(pointers(&|_| ()), <[&str; 0]>::default());
        for cpus in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(pointers(&|it| it.cpus = cpus), ["/cpus"]);
        }
        let many = |it: &mut Offer| it.images = (0..1025).map(|n| format!("i{n}")).collect();
        assert_eq!(pointers(&many), ["/images"]);
        assert_eq!(pointers(&|it| it.images = ["../etc".to_owned()].into()), ["/images"]);
        assert_eq!(pointers(&|it| it.images = ["x".repeat(65)].into()), ["/images"]);
        assert_eq!(pointers(&|it| it.runtime = Some("x".repeat(257))), ["/runtime"]);
        assert_eq!(pointers(&|it| it.user = Some("x".repeat(257))), ["/user"]);
    }
}

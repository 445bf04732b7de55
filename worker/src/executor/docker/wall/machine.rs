//! The addresses of the engine's machine, as that machine sees them.
//!
//! A helper on the machine's network reports them, together with its network namespace. If this
//! process is in the same namespace, as an ordinary program on that machine is, it reads the
//! addresses itself from then on, for each job. From anywhere else the helper's report counts as
//! current for a minute.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ipnet::Ipv4Net;
use orchestra_sandbox::machine;
use tokio::{sync::Mutex, time::Instant};

use super::{
    super::{container::Keeper, name, session::StartError},
    helper::{Helper, Tools, run},
    hosts, no_wall,
};

/// How long reported addresses count as current.
const FRESH: Duration = Duration::from_mins(1);
/// How long the engine counts as being in the same namespace.
const PLACE: Duration = Duration::from_hours(1);

#[derive(Default)]
pub(super) struct Machine(Mutex<Option<Known>>);

struct Known {
    when: Instant,
    answer: HelperAnswer,
}

#[derive(Debug, PartialEq, Eq)]
enum HelperAnswer {
    /// The engine is in this process's namespace.
    Here,
    Addresses(BTreeSet<Ipv4Net>),
}

impl Known {
    /// The addresses, if they are current.
    fn addresses(&self) -> Option<BTreeSet<Ipv4Net>> {
        match &self.answer {
            HelperAnswer::Here if self.when.elapsed() < PLACE => read().ok(),
            HelperAnswer::Addresses(addresses) if self.when.elapsed() < FRESH => {
                Some(addresses.clone())
            }
            HelperAnswer::Here | HelperAnswer::Addresses(_) => None,
        }
    }
}

impl Machine {
    /// `None` if only a helper could tell, or one is running at this moment.
    pub(super) fn known(&self) -> Option<BTreeSet<Ipv4Net>> {
        self.0.try_lock().ok()?.as_ref()?.addresses()
    }

    pub(super) async fn addresses(
        &self,
        keeper: &Keeper,
        tools: Tools<'_>,
    ) -> Result<BTreeSet<Ipv4Net>, StartError> {
        let mut known = self.0.lock().await;
        if let Some(addresses) = known.as_ref().and_then(Known::addresses) {
            return Ok(addresses);
        }
        let when = Instant::now();
        let said = run(keeper, name::of_helper(), Helper::Addresses.body(tools)).await?;
        let (answer, addresses) =
            understand(&said, machine::namespace().ok()).ok_or_else(|| no_wall(said.trim_end()))?;
        *known = Some(Known { when, answer });
        Ok(addresses)
    }
}

/// Parses a helper's output. `here` is this process's own namespace.
fn understand(said: &str, here: Option<String>) -> Option<(HelperAnswer, BTreeSet<Ipv4Net>)> {
    let (place, addresses) = said.split_once('\n')?;
    let addresses: Result<Vec<IpAddr>, _> = addresses.lines().map(str::parse).collect();
    // Every machine has at least its loopback address.
    let addresses = addresses.ok().filter(|all| !all.is_empty())?;
    let addresses: BTreeSet<_> = hosts(addresses.into_iter()).collect();
    let is_here = here.is_some_and(|here| here == place);
    let answer =
        if is_here { HelperAnswer::Here } else { HelperAnswer::Addresses(addresses.clone()) };
    Some((answer, addresses))
}

fn read() -> std::io::Result<BTreeSet<Ipv4Net>> {
    let addresses = machine::addresses()?;
    Ok(hosts(addresses.into_iter().map(|address: Ipv4Addr| address.into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "boot net:[7]\n127.0.0.1\n192.0.2.7\n";

    fn only() -> BTreeSet<Ipv4Net> {
        ["192.0.2.7/32".parse().unwrap()].into()
    }

    #[test]
    fn only_who_is_in_the_same_namespace_sees_the_same_addresses() {
        let here = |place: &str| Some(place.to_owned());
        assert_eq!(understand(SAID, here("boot net:[7]")), Some((HelperAnswer::Here, only())));
        for elsewhere in [here("boot net:[8]"), here("other net:[7]"), None] {
            let answer = HelperAnswer::Addresses(only());
            assert_eq!(understand(SAID, elsewhere), Some((answer, only())));
        }
    }

    #[test]
    fn a_helper_that_complains_has_told_nothing() {
        for said in ["", "orchestra-sandbox: no such file\n", "boot net:[7]\nnonsense\n"] {
            assert_eq!(understand(said, None), None, "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_helper_has_told_is_right_for_a_minute_and_what_is_seen_here_for_longer() {
        let when = Instant::now();
        let far = Known { when, answer: HelperAnswer::Addresses(only()) };
        let here = Known { when, answer: HelperAnswer::Here };
        assert_eq!(far.addresses(), Some(only()));
        tokio::time::advance(FRESH).await;
        assert_eq!(far.addresses(), None);
        assert_eq!(here.addresses(), read().ok());
        tokio::time::advance(PLACE).await;
        assert_eq!(here.addresses(), None);
    }
}

//! Removes what earlier processes of this worker left behind.
//!
//! The sweep considers only containers labelled with this worker's name. It knows the containers of
//! this process, and leaves those of another living process alone: two workers may share a name
//! (two `orchestra run` on one machine), and neither may kill the other's jobs. Whether a process
//! in another container is alive cannot be seen from here, so the sweep removes only those of its
//! containers that stopped a while ago. The ones that run end themselves with their lease.
//!
//! A label cannot be changed, so a process that takes a container over writes itself into the
//! container's name. Of two processes that rename from the same old name, only one succeeds.

use std::{fs, time::Duration};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use tokio::time::sleep;

use super::{
    container::{Keeper, PROCESS_LABEL, WORKER_LABEL},
    engine::EngineError,
};
use crate::clock;

/// By then the engine has created what a killed process had asked for.
const FIRST: Duration = Duration::from_secs(5);
const EVERY: Duration = Duration::from_mins(1);
/// No container stays unstarted for this long, or is kept for this long after its end.
const A_WHILE: Duration = Duration::from_mins(10);

impl Keeper {
    /// Sweeps at intervals until this future is dropped.
    pub(super) async fn sweep_often(&self) {
        sleep(FIRST).await;
        loop {
            self.sweep_now().await;
            sleep(EVERY).await;
        }
    }

    pub(super) async fn sweep_now(&self) {
        if let Err(error) = self.sweep().await {
            tracing::debug!("could not look for leftover containers: {error}");
        }
    }

    pub(super) async fn sweep(&self) -> Result<(), EngineError> {
        let ours = format!("{WORKER_LABEL}={}", self.worker);
        for container in self.engine.labelled(std::slice::from_ref(&ours)).await? {
            let Some(name) = name_of(&container) else { continue };
            if !self.owned.contains(&name) && self.is_leftover(&container) {
                tracing::info!(container = name, "removing a leftover container");
                self.container(name).remove().await;
            }
        }
        // A private folder is removed with its container, unless somebody else removed that
        // container.
        for volume in self.engine.unused_volumes(&ours).await? {
            tracing::info!(volume, "removing a leftover volume");
            self.engine.remove_volume(&volume).await?;
        }
        Ok(())
    }

    fn is_leftover(&self, container: &ContainerSummary) -> bool {
        let process = process_of(container);
        match fate_of(&process) {
            Fate::Dead => true,
            // A container that we do not own any more: its earlier removal failed.
            Fate::Lives => process == self.process,
            Fate::Unknown => stopped_a_while_ago(container),
        }
    }
}

fn stopped_a_while_ago(container: &ContainerSummary) -> bool {
    let now = Duration::from_micros(clock::wall_micros());
    let created = Duration::from_secs(container.created.unwrap_or_default().cast_unsigned());
    let runs = matches!(
        container.state,
        Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED)
    );
    !runs && now.saturating_sub(created) > A_WHILE
}

/// The process that owns a container: the one that made it, or the last one that took it over.
/// Empty if unknown.
pub(super) fn process_of(container: &ContainerSummary) -> String {
    let labels = container.labels.as_ref();
    let maker = labels.and_then(|labels| labels.get(PROCESS_LABEL)).cloned().unwrap_or_default();
    let name = name_of(container).unwrap_or_default();
    match (name.split_once('.'), maker.rsplitn(3, '/').nth(2)) {
        (Some((_, successor)), Some(place)) => format!("{place}/{}", successor.replace('.', "/")),
        _ => maker,
    }
}

/// The container's name once `process` has taken it over.
pub(super) fn name_after_takeover(name: &str, process: &str) -> String {
    let (original, _) = name.split_once('.').unwrap_or((name, ""));
    let mut parts = process.rsplit('/');
    let (start, pid) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{original}.{pid}.{start}")
}

pub(super) fn name_of(container: &ContainerSummary) -> Option<String> {
    let name = container.names.as_ref()?.first()?;
    Some(name.trim_start_matches('/').to_owned())
}

/// What became of the process that owns a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    Dead,
    /// Its PID belongs to another container's PID namespace.
    Unknown,
}

/// `boot/namespace/pid/start`. No two processes of this machine ever share it.
pub(super) fn this_process() -> String {
    let pid = std::process::id();
    let start = start_of(pid).unwrap_or_default();
    format!("{}/{pid}/{start}", surroundings())
}

pub(super) fn fate_of(process: &str) -> Fate {
    let mut parts = process.rsplitn(3, '/');
    let (start, pid) = (parts.next(), parts.next().and_then(|pid| pid.parse().ok()));
    let (here, there) = (surroundings(), parts.next().unwrap_or_default());
    let boot = |surroundings: &str| surroundings.split('/').next().map(str::to_owned);
    if boot(&here) != boot(there) {
        Fate::Dead
    } else if here != there {
        Fate::Unknown
    } else if start.is_some() && pid.and_then(start_of).as_deref() == start {
        Fate::Lives
    } else {
        Fate::Dead
    }
}

fn surroundings() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}/{}", boot.trim(), namespace.display())
}

/// When the process started, in ticks since boot. `None` if there is no such process.
fn start_of(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc(5): the name is in parentheses and may contain anything. The start time is field 22, the
    // 20th after it.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fate_of_a_process_is_told_by_where_and_when_it_began() {
        let this = this_process();
        assert_eq!(fate_of(&this), Fate::Lives, "{this}");
        assert_eq!(fate_of(&format!("{this}0")), Fate::Dead, "another had its number");
        assert_eq!(fate_of(&format!("0{this}")), Fate::Dead, "before the last boot");
        assert_eq!(fate_of(&this.replace("pid:[", "pid:[9")), Fate::Unknown);
        assert_eq!(fate_of(""), Fate::Dead);
    }

    #[test]
    fn who_took_a_container_over_answers_for_it() {
        let container = |name: &str| ContainerSummary {
            names: Some(vec![format!("/{name}")]),
            labels: Some([(PROCESS_LABEL.to_owned(), "boot/pid:[1]/10/100".to_owned())].into()),
            ..ContainerSummary::default()
        };
        let name = "orchestra-7-1-abc";
        assert_eq!(process_of(&container(name)), "boot/pid:[1]/10/100");
        let second = name_after_takeover(name, "boot/pid:[1]/20/200");
        assert_eq!(process_of(&container(&second)), "boot/pid:[1]/20/200");
        let third = name_after_takeover(&second, "boot/pid:[1]/30/300");
        assert_eq!(third, "orchestra-7-1-abc.30.300");
        assert_eq!(process_of(&container(&third)), "boot/pid:[1]/30/300");
        assert_eq!(process_of(&ContainerSummary::default()), "");
    }

    #[test]
    fn only_what_stopped_long_ago_is_taken_from_the_unknown() {
        let container = |state, created| ContainerSummary {
            state: Some(state),
            created: Some(created),
            ..ContainerSummary::default()
        };
        let now = (clock::wall_micros() / 1_000_000).cast_signed();
        assert!(stopped_a_while_ago(&container(ContainerSummaryStateEnum::EXITED, now - 3600)));
        assert!(!stopped_a_while_ago(&container(ContainerSummaryStateEnum::RUNNING, now - 3600)));
        assert!(!stopped_a_while_ago(&container(ContainerSummaryStateEnum::CREATED, now - 5)));
    }
}

//! Removes what earlier processes of this worker left behind.
//!
//! Only containers labelled with this worker's name are looked at. Of those, the
//! ones of this process are known, and the ones of another process that still
//! lives are its own: two workers may have been given one name (two `orchestra
//! run` on one machine), and neither may kill the other's jobs.

use std::{fs, time::Duration};

use bollard::models::ContainerSummary;
use tokio::time::sleep;

use super::{
    container::{Keeper, PROCESS_LABEL, WORKER_LABEL},
    engine::EngineError,
};

const EVERY: Duration = Duration::from_mins(1);

impl Keeper {
    /// Sweeps at intervals until it is dropped.
    pub(super) async fn sweep_often(&self) {
        loop {
            sleep(EVERY).await;
            if let Err(error) = self.sweep().await {
                tracing::debug!("could not look for leftover containers: {error}");
            }
        }
    }

    pub(super) async fn sweep(&self) -> Result<(), EngineError> {
        let ours = format!("{WORKER_LABEL}={}", self.worker);
        for container in self.engine.labelled(&ours).await? {
            let Some(name) = name_of(&container).filter(|name| !self.owned.contains(name)) else {
                continue;
            };
            let labels = container.labels.unwrap_or_default();
            let process = labels.get(PROCESS_LABEL);
            if process.is_some_and(|it| *it != self.process && is_alive(it)) {
                continue;
            }
            tracing::info!(container = name, "removing a leftover container");
            self.container(name).remove().await;
        }
        Ok(())
    }
}

fn name_of(container: &ContainerSummary) -> Option<String> {
    let name = container.names.as_ref()?.first()?;
    Some(name.trim_start_matches('/').to_owned())
}

/// `boot/pid/start`: no two processes of this machine ever share it.
pub(super) fn this_process() -> String {
    identity_of(std::process::id()).unwrap_or_else(|| format!("?/{}/?", std::process::id()))
}

fn is_alive(process: &str) -> bool {
    let pid = process.split('/').nth(1).and_then(|pid| pid.parse().ok());
    pid.and_then(identity_of).is_some_and(|identity| identity == process)
}

fn identity_of(pid: u32) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc(5): the name stands in parentheses and may hold anything; the start
    // time is field 22, the 20th after it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let start = fields.split(' ').nth(19)?;
    Some(format!("{}/{pid}/{start}", boot.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_others_with_its_number_do_not() {
        let this = this_process();
        assert!(is_alive(&this), "{this}");
        let (before, start) = this.rsplit_once('/').unwrap();
        let earlier = format!("{before}/{}", start.parse::<u64>().unwrap() - 1);
        assert!(!is_alive(&earlier));
        assert!(!is_alive(&this.replacen(|c: char| c.is_ascii_hexdigit(), "x", 1)));
        assert!(!is_alive(""));
    }
}

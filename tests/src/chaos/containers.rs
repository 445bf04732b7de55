//! Records when containers start and end. The start comes from the engine's events; the end comes
//! from the kernel where it can be observed, else from the engine.
//!
//! When PID 1 of a container ends, every process in it has ended (`pid_namespaces(7)`). The engine
//! reports this later, by up to ten seconds while it has output left for a stalled reader: such a
//! container is listed but runs nothing.
//!
//! A container's name says which attempt it belongs to. A warm sandbox is renamed within
//! milliseconds of getting its job; for its attempt it starts then. If its worker is killed before
//! the rename, the container is recorded from its takeover on, or not at all.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use orchestra_contracts::{AttemptNo, JobId, WorkerName};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::{task::JoinSet, time::sleep};

use super::Recorder;
use crate::{
    check::What,
    engine::{self, ContainerEvent},
};

/// An end is recorded at most this much late.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A running container. Its end is recorded once.
struct Watched {
    recorder: Recorder,
    gone: AtomicBool,
    what: What,
}

impl Watched {
    fn is_gone(&self, tell: impl FnOnce(&Recorder, What)) {
        if !self.gone.swap(true, Ordering::Relaxed) {
            tell(&self.recorder, self.what.clone());
        }
    }
}

/// Records starts and ends of these workers' containers until the future is dropped.
///
/// # Panics
/// When the engine closes the stream, since later events would be missed.
pub async fn watch(recorder: Recorder, workers: Vec<String>) {
    let mut running: HashMap<String, Arc<Watched>> = HashMap::new();
    // Running containers that have no attempt yet.
    let mut waiting = HashSet::new();
    let mut watching = JoinSet::new();
    engine::events(|event| {
        while watching.try_join_next().is_some() {}
        match event.action.as_str() {
            "start" | "rename" => {
                let of_attempt = attempt_of(&event, &workers);
                if event.action == "start" && of_attempt.is_none() {
                    waiting.insert(event.id.clone());
                }
                // If it has its attempt already, the rename is a takeover by another process.
                let is_new = event.action == "start" || waiting.contains(&event.id);
                let Some((job, attempt, worker)) = of_attempt.filter(|_| is_new) else { return };
                waiting.remove(&event.id);
                let what = What::ContainerStarted { job, attempt, worker: worker.clone() };
                recorder.record_at(event.nanos, what);
                let what = What::ContainerGone { job, attempt, worker };
                let watched =
                    Watched { recorder: recorder.clone(), gone: AtomicBool::new(false), what };
                let watched = Arc::new(watched);
                running.insert(event.id.clone(), watched.clone());
                watching.spawn(async move {
                    if let Some(process) = process_of(&event.id).await {
                        while !has_ended(&process) {
                            sleep(BETWEEN_LOOKS).await;
                        }
                        watched.is_gone(Recorder::record);
                    }
                });
            }
            "die" => {
                waiting.remove(&event.id);
                if let Some(watched) = running.remove(&event.id) {
                    watched.is_gone(|recorder, what| recorder.record_at(event.nanos, what));
                }
            }
            _ => {}
        }
    })
    .await;
}

fn attempt_of(
    event: &ContainerEvent,
    workers: &[String],
) -> Option<(JobId, AttemptNo, WorkerName)> {
    let worker = event.labels.get("orchestra.worker").filter(|name| workers.contains(name))?;
    let (job, attempt) = named(&event.name)?;
    Some((job, attempt, worker.parse().ok()?))
}

/// Parses `orchestra-<job>-<attempt>-<anything>`. After a dot, the name tells which process took
/// the container over.
fn named(name: &str) -> Option<(JobId, AttemptNo)> {
    let mut parts = name.split('.').next()?.strip_prefix("orchestra-")?.split('-');
    let (job, attempt) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (parts.count() == 1).then_some((JobId(job), AttemptNo(attempt)))
}

/// A handle on the container's PID 1, if it runs on this machine.
async fn process_of(id: &str) -> Option<OwnedFd> {
    let pid = engine::first_process(id).await?;
    let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    // The PID may belong to another machine, or may have been reused.
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups.contains(id).then_some(process)
}

/// A pidfd is readable once its process has ended (`pidfd_open(2)`).
fn has_ended(process: &OwnedFd) -> bool {
    let mut looked = [PollFd::new(process, PollFlags::IN)];
    poll(&mut looked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_name_says_whose_it_is() {
        let attempt = Some((JobId(12), AttemptNo(3)));
        assert_eq!(named("orchestra-12-3-0123abcd"), attempt);
        assert_eq!(
            named("orchestra-12-3-0123abcd.77.88"),
            attempt,
            "the name is parsed after a takeover"
        );
        for other in ["orchestra-warm-0123abcd", "orchestra-12-3-0123abcd-wall", "orchestra-12"] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}

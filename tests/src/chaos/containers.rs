//! When containers started and ended: the engine's own word on the first, and on the second the
//! kernel's, where it can be heard.
//!
//! With PID 1 of a container everything in it has ended (`pid_namespaces(7)`). The engine says so
//! later, by as much as ten seconds where it has output left for a reader that stands still: such
//! a container is on its list and runs nothing.

use std::{
    collections::HashMap,
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
use crate::{check::What, engine};

/// So much later than it was, at most, an end is written down.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A container whose end is to be written down once.
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

/// Writes down starts and ends of these workers' containers until it is dropped.
///
/// # Panics
/// When the engine breaks the stream off: what follows would be unseen.
pub async fn watch(recorder: Recorder, workers: Vec<String>) {
    let mut running: HashMap<String, Arc<Watched>> = HashMap::new();
    let mut watching = JoinSet::new();
    engine::events(|event| {
        while watching.try_join_next().is_some() {}
        match event.action.as_str() {
            "start" => {
                let Some((job, attempt, worker)) = attempt_of(&event.labels, &workers) else {
                    return;
                };
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
    labels: &HashMap<String, String>,
    workers: &[String],
) -> Option<(JobId, AttemptNo, WorkerName)> {
    let worker = labels.get("orchestra.worker").filter(|name| workers.contains(name))?;
    let number = |label: &str| labels.get(label)?.parse::<i64>().ok();
    let (job, attempt) = (number("orchestra.job")?, number("orchestra.attempt")?);
    Some((JobId(job), AttemptNo(attempt as u32), worker.parse().ok()?))
}

/// PID 1 of a container, where it runs on this machine.
async fn process_of(id: &str) -> Option<OwnedFd> {
    let pid = engine::first_process(id).await?;
    let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    // The number may be of another machine, or somebody else's by now.
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups.contains(id).then_some(process)
}

/// As `pidfd_open(2)` says: it can be read from once the process has ended.
fn has_ended(process: &OwnedFd) -> bool {
    let mut looked = [PollFd::new(process, PollFlags::IN)];
    poll(&mut looked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

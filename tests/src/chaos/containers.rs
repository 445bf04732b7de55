//! The engine's own word on when containers started and ended.

use orchestra_contracts::{AttemptNo, JobId, WorkerName};

use super::Recorder;
use crate::{check::What, engine};

/// Writes down starts and ends of these workers' containers until it is dropped.
///
/// # Panics
/// When the engine breaks the stream off: what follows would be unseen.
pub async fn watch(recorder: Recorder, workers: Vec<String>) {
    engine::events(|event| {
        let labels = &event.labels;
        let Some(worker) = labels.get("orchestra.worker") else { return };
        if !workers.contains(worker) {
            return;
        }
        let number = |label: &str| labels.get(label)?.parse::<i64>().ok();
        let (Some(job), Some(attempt)) = (number("orchestra.job"), number("orchestra.attempt"))
        else {
            return;
        };
        let Ok(worker) = worker.parse::<WorkerName>() else { return };
        let (job, attempt) = (JobId(job), AttemptNo(attempt as u32));
        match event.action.as_str() {
            "start" => {
                recorder.record_at(event.nanos, What::ContainerStarted { job, attempt, worker });
            }
            "die" => {
                recorder.record_at(event.nanos, What::ContainerGone { job, attempt, worker });
            }
            _ => {}
        }
    })
    .await;
}

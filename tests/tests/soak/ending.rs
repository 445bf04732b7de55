//! The final state, read without any proxy.

use std::{path::Path, time::Duration};

use orchestra_contracts::JobId;
use orchestra_tests::{
    Stack,
    chaos::{Caller, Recorder, Zombie, follow},
    check::{End, JobEnd, REQUEST_LABEL, What},
    engine, say, wait,
};
use tokio::time::Instant;

use crate::load::Load;

/// Logs fill the database; a size beyond this means a leak.
const LARGEST_STORE: u64 = 4 << 30;

/// Waits until no job is open and no container of a job is left.
pub(crate) async fn at_rest(stack: &Stack) {
    for status in ["Pending", "Assigned", "Running"] {
        let what = format!("no job to be {status}");
        wait::until(&what, Duration::from_mins(4), async || {
            stack.api.jobs(&format!("?status={status}")).await.is_empty().then_some(())
        })
        .await;
    }
    for name in stack.names() {
        engine::all_gone(name).await;
    }
}

pub(crate) async fn collect(
    stack: &mut Stack,
    load: &Load,
    zombie: &Zombie,
    recorder: &Recorder,
) -> End {
    let caller = Caller::new(stack.api.url(""), Recorder::default());
    let mut jobs = Vec::new();
    for listed in caller.jobs("").await.expect("the master lists its jobs") {
        let request = listed.spec.labels.get(REQUEST_LABEL).and_then(|label| label.parse().ok());
        if let Some(request) = request {
            load.record_content(listed.id, request);
        }
        jobs.push(read(&caller, listed.id).await);
    }
    let mut left = Vec::new();
    for name in stack.names() {
        // Workers still keep warm sandboxes; when the workers end, those are gone as well.
        left.extend(engine::jobs_left(name).await.into_iter().map(|id| format!("container {id}")));
    }
    left.extend(stray_files(&stack.folder().join("data"), recorder));
    let printed =
        stack.workers.iter().map(|worker| (worker.name.clone(), worker.program.printed()));
    let mut printed: Vec<_> = printed.collect();
    printed.push(("master".to_owned(), stack.master().printed()));
    for (program, text) in printed {
        let panic = text.lines().find(|line| line.contains("panicked")).map(str::to_owned);
        recorder.record(What::Printed { program, panic });
    }
    End { at: recorder.now(), jobs, fenced: Some(zombie.accounted()), left: Some(left) }
}

async fn read(caller: &Caller, id: JobId) -> JobEnd {
    let job = caller.look(id).await.expect("a job that is listed is there");
    let attempts = caller.attempts(id).await.expect("it has attempts");
    let read = follow(caller, id, Instant::now() + wait::JOB).await;
    let Some(What::Followed { mut log, whole: true, .. }) = read else {
        panic!("the log of job {id} cannot be read to its end");
    };
    for attempt in &attempts {
        if !log.iter().any(|(number, _)| *number == attempt.number) {
            log.push((attempt.number, Vec::new()));
        }
    }
    JobEnd { job, attempts, logs: log }
}

/// Unexpected files in the master's data folder, beside the database and the secret key.
fn stray_files(data: &Path, recorder: &Recorder) -> Vec<String> {
    let mut stray = Vec::new();
    let mut bytes = 0;
    for entry in std::fs::read_dir(data).expect("the master has a data folder") {
        let entry = entry.expect("a folder can be read to its end");
        bytes += entry.metadata().map_or(0, |data| data.len());
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("orchestra.db") && name != "secret.key" {
            stray.push(format!("file {name}"));
        }
    }
    let what_of = "the master's data".to_owned();
    recorder.record(What::Stored { what_of, bytes, limit: LARGEST_STORE });
    stray
}

/// Saves the programs' output next to the history of a failed run.
pub(crate) fn keep_logs(stack: &mut Stack, beside: &Path) {
    let keep = |name: &str, text: String| {
        let path = beside.with_extension(format!("{name}.log"));
        if std::fs::write(&path, text).is_ok() {
            say(&format!("what {name} printed is in {}", path.display()));
        }
    };
    keep("master", stack.master().printed());
    for worker in &stack.workers {
        keep(&worker.name, worker.program.printed());
    }
}

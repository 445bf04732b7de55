//! Where the CPU time of one short job goes, by program, and the wall time of a warm one.

use std::time::{Duration, Instant};

use orchestra_contracts::JobSpec;
use tokio::time::sleep;

use crate::{
    args::Row,
    cpu::{self, Cpu},
    error::BenchError,
    program::Process,
    report::Measured,
    rows::{
        Bench,
        blocks::{PAUSE, millis},
    },
    stack::{Plan, Stack},
    statistics::Samples,
};

/// How long the idle machine is measured, to subtract its background load.
const IDLE: Duration = Duration::from_secs(5);

/// Wall times of one job's phases, in their order.
#[derive(Debug, Default)]
struct Phases {
    submit: Vec<f64>,
    image: Vec<f64>,
    start: Vec<f64>,
    command: Vec<f64>,
    rest: Vec<f64>,
    all: Vec<f64>,
}

pub(super) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let jobs = bench.pick(100_u32, 15);
    let mut row = Measured::new(Row::Profile, "where the time of a job goes");
    for (way, warm) in [("warm", 2), ("cold", 0)] {
        let stack = bench.stack(&Plan::worker(2, warm)).await?;
        sleep(IDLE).await;
        let idle = Cpu::now();
        sleep(IDLE).await;
        let idle = Cpu::now().since(&idle).machine.as_secs_f64() / IDLE.as_secs_f64();
        let me = std::process::id();
        let ids = [stack.master.id(), stack.worker.as_ref().map_or(0, Process::id), me];
        let (start, before, ours) = (Instant::now(), Cpu::now(), ids.map(cpu::of));
        let phases = phases(&stack, jobs).await?;
        sleep(PAUSE).await;
        let used = Cpu::now().since(&before);
        let idle = Duration::from_secs_f64(idle * start.elapsed().as_secs_f64());
        let [master, worker, client] =
            std::array::from_fn(|index| cpu::of(ids[index]).saturating_sub(ours[index]));
        let parts = [
            ("master", master),
            ("worker", worker),
            ("dockerd", used.of("dockerd")),
            ("containerd", used.of("containerd")),
            ("in containers: PID 1 and the job", used.containers()),
        ];
        let known: Duration = parts.iter().map(|(_, time)| *time).sum::<Duration>() + client + idle;
        let other = ("shims, runc, their helpers, the kernel", used.machine.saturating_sub(known));
        for (what, time) in parts.into_iter().chain([other]) {
            row.figure(format!("{way}, {what}"), "ms of processor", per_job(time, jobs));
        }
        for (what, times) in [
            ("submit to its answer", phases.submit),
            ("the image is looked up", phases.image),
            ("a sandbox is got or made", phases.start),
            ("the shell runs", phases.command),
            ("claim, hand-over, report: the rest", phases.rest),
            ("altogether", phases.all),
        ] {
            let times: Samples = [times].into_iter().collect();
            row.line(format!("{way}, {what}"), "ms", &times);
        }
    }
    row.note(
        "Processor time holds the making of the next sandbox and the removal of the last. What \
         has no process for long is what is left of the machine's time, less what it \
         does when idle: the figure holds on a machine that does nothing else.",
    );
    Ok(row)
}

fn per_job(time: Duration, jobs: u32) -> f64 {
    millis(time) / f64::from(jobs)
}

async fn phases(stack: &Stack, jobs: u32) -> Result<Phases, BenchError> {
    let spec = JobSpec::new("true");
    let mut found = Phases::default();
    for _ in 0..jobs {
        sleep(PAUSE).await;
        let start = Instant::now();
        let job = stack.client.submit(&spec).await?;
        let submitted = millis(start.elapsed());
        let job = stack.client.wait(job.id).await?;
        let all = millis(start.elapsed());
        let usage = job.usage.unwrap_or_default();
        let told = |time: Option<u64>| time.unwrap_or_default() as f64;
        let (image, began) = (told(usage.image_ms), told(usage.start_ms));
        let command = usage.wall_ms as f64;
        found.submit.push(submitted);
        found.image.push(image);
        found.start.push(began);
        found.command.push(command);
        found.rest.push(all - submitted - image - began - command);
        found.all.push(all);
    }
    Ok(found)
}

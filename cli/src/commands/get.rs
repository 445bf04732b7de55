//! `orchestra get`.

use std::fmt::Write;

use orchestra_contracts::{Job, Resources, Size};

use crate::{
    args::{Output, Server},
    clock,
    exit::Exit,
    failure::Failure,
    jobref::JobRef,
    output::{Format, escape, print, print_json, print_line, when},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// The job: its id, @latest, or the beginning of its name
    #[arg(value_name = "ID")]
    job: JobRef,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

pub(crate) async fn get(args: Get) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let job = client.job(args.job.resolve(&client).await?).await?;
    match args.output.format {
        Format::Json => print_json(&job)?,
        Format::Name => print_line(job.id)?,
        Format::Table => print(&sheet(&job))?,
    }
    Ok(Exit::SUCCESS)
}

/// One fact a line, those that are there.
fn sheet(job: &Job) -> String {
    let mut sheet = Sheet::default();
    let spec = &job.spec;
    sheet.fact("id", Some(job.id));
    sheet.fact("name", spec.name.as_ref());
    sheet.fact("status", Some(job.status));
    sheet.fact("why", job.reason.as_ref());
    sheet.fact("exit code", job.exit_code);
    sheet.fact("worker", job.assigned_worker.as_ref());
    sheet.fact("attempt", job.attempt);
    sheet.fact("retries", Some(format!("{} of {}", job.retry_count, spec.max_retries)));
    sheet.fact("image", spec.image.as_ref());
    sheet.fact("queue", Some(&spec.queue));
    sheet.fact("timeout", spec.timeout);
    sheet.fact("resources", resources(spec.resources));
    for (key, value) in &spec.labels {
        sheet.fact("label", Some(format!("{key}={value}")));
    }
    sheet.fact("created", Some(job.created_at));
    sheet.fact("started", job.started_at);
    sheet.fact("finished", job.finished_at);
    sheet.fact("tried again", job.not_before.map(|at| format!("not before {at}")));
    sheet.fact("took", Some(when::took(job, clock::now())).filter(|took| !took.is_empty()));
    if let Some(usage) = job.usage {
        sheet.fact("cpu time", Some(when::millis(usage.cpu_ms.into())));
        let peak = Some(usage.peak_memory).filter(|bytes| *bytes > 0);
        sheet.fact("memory", peak.map(|bytes| format!("{} MiB at most", bytes.div_ceil(1 << 20))));
    }
    sheet.text("command", &spec.command);
    let tail = if job.output_truncated { " (the end of it)" } else { "" };
    sheet.text(&format!("output{tail}"), &job.output);
    sheet.text(&format!("error{tail}"), &job.error);
    sheet.0
}

fn resources(wanted: Resources) -> Option<String> {
    let words = [
        wanted.cpus.map(|cpus| format!("cpus {cpus}")),
        wanted.memory.map(|memory: Size| format!("memory {memory}")),
        wanted.pids.map(|pids| format!("pids {pids}")),
        wanted.tmp.map(|tmp| format!("tmp {tmp}")),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(", "))
}

#[derive(Default)]
struct Sheet(String);

impl Sheet {
    fn fact(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            let value = escape::line(&value.to_string());
            writeln!(self.0, "{name:<12}{value}").expect("a String takes everything");
        }
    }

    /// Text of its own lines, indented so that nothing in it looks like a fact.
    fn text(&mut self, name: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        writeln!(self.0, "{name}").expect("a String takes everything");
        for line in escape::block(text).lines() {
            writeln!(self.0, "    {line}").expect("a String takes everything");
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::{JobStatus, Outcome};

    use super::*;
    use crate::exit::tests::job;

    #[test]
    fn what_a_job_says_cannot_pass_for_a_fact() {
        let mut job = job(JobStatus::Failed, Some(Outcome::Exited { code: 3 }));
        job.spec.name = Some("x\nstatus      Completed".into());
        job.output = "status      Completed\n\x1b[2J\n".into();
        let sheet = sheet(&job);
        assert_eq!(sheet.lines().filter(|line| line.starts_with("status")).count(), 1, "{sheet}");
        assert!(sheet.contains("why         exited with code 3\n"), "{sheet}");
        assert!(sheet.ends_with("output\n    status      Completed\n    \\u{1b}[2J\n"), "{sheet}");
    }
}

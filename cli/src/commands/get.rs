//! `orchestra get`.

use std::fmt::Write;

use orchestra_contracts::{Attempt, Job, Resources, Size};

use crate::{
    args::{Output, Server},
    clock,
    exit::Exit,
    failure::Failure,
    jobref::JobRef,
    output::{Format, advice, escape, print, print_json, print_line, when},
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
        Format::Table => {
            let newest = match job.usage {
                Some(_) => client.attempts(job.id).await?.pop(),
                None => None,
            };
            print(&sheet(&job, newest.as_ref()))?;
        }
    }
    Ok(Exit::SUCCESS)
}

/// One fact a line, those that are there.
fn sheet(job: &Job, newest: Option<&Attempt>) -> String {
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
    for (key, value) in &spec.requires {
        sheet.fact("requires", Some(format!("{key}={value}")));
    }
    sheet.fact("created", Some(job.created_at));
    sheet.fact("started", job.started_at);
    sheet.fact("finished", job.finished_at);
    let begins =
        if job.attempt.is_some() && !job.status.is_final() { "tried again" } else { "begins" };
    sheet.fact(begins, job.not_before.map(|at| format!("not before {at}")));
    sheet.fact("took", Some(when::took(job, clock::now())).filter(|took| !took.is_empty()));
    let ran = newest.and_then(|attempt| attempt.ran.as_ref());
    sheet.fact("ran on", ran.map(|ran| ran.digest.as_ref().unwrap_or(&ran.image_id)));
    if let Some(usage) = &job.usage {
        for (name, fact) in advice::facts(usage, newest) {
            sheet.fact(name, Some(fact));
        }
        for sentence in advice::advice(spec, usage, ran) {
            sheet.fact("advice", Some(sentence));
        }
    } else {
        sheet.fact("phases", newest.and_then(advice::coarse_phases));
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
        let sheet = sheet(&job, None);
        assert_eq!(sheet.lines().filter(|line| line.starts_with("status")).count(), 1, "{sheet}");
        assert!(sheet.contains("why         exited with code 3\n"), "{sheet}");
        assert!(sheet.ends_with("output\n    status      Completed\n    \\u{1b}[2J\n"), "{sheet}");
    }
}

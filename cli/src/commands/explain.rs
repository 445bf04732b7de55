//! `orchestra explain`.

use orchestra_contracts::explain::Explanation;

use crate::{
    args::{Output, Server},
    exit::Exit,
    failure::Failure,
    jobref::JobRef,
    output::{Format, escape, print_json, print_line},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The job: its id, @latest, or the beginning of its name
    #[arg(value_name = "ID")]
    job: JobRef,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

pub(crate) async fn explain(args: Explain) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let explanation = client.explain(args.job.resolve(&client).await?).await?;
    match args.output.format {
        Format::Json => print_json(&explanation)?,
        Format::Name => print_line(explanation.job)?,
        Format::Table => lines(&explanation).iter().try_for_each(print_line)?,
    }
    Ok(Exit::SUCCESS)
}

/// The job, then each reason, and under it what can be done.
fn lines(explanation: &Explanation) -> Vec<String> {
    let Explanation { job, status, reasons, warnings } = explanation;
    let mut lines = vec![format!("job {job} is {status}:")];
    for reason in reasons {
        lines.push(format!("  {}", escape::line(&reason.text)));
        let hint = reason.hint.iter();
        lines.extend(hint.map(|hint| format!("    {}", escape::line(hint))));
    }
    for warning in warnings {
        lines.push(format!("  beware: {}", escape::line(&warning.text)));
        lines.push(format!("    {}", escape::line(&warning.hint)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::{
        JobId, JobStatus,
        explain::{Cause, Warning},
    };

    use super::*;

    #[test]
    fn each_reason_is_a_line_and_its_hint_the_next() {
        let queue = || "q".parse().unwrap();
        let causes =
            [Cause::NoWorker { queue: queue(), away: 1 }, Cause::Ahead { queue: queue(), jobs: 2 }];
        let reasons = causes.map(Into::into).into();
        let warnings = vec![Warning::shared_folder("q", &["a", "b"])];
        let lines =
            lines(&Explanation { job: JobId(7), status: JobStatus::Pending, reasons, warnings });
        assert_eq!(lines[0], "job 7 is Pending:");
        assert_eq!(lines[1], "  no worker of queue q is online (1 away)");
        assert!(lines[2].starts_with("    start a worker"), "{lines:?}");
        assert_eq!(lines[3], "  2 jobs of queue q go first");
        assert!(lines[4].starts_with("  beware: it runs in the shared folder"), "{lines:?}");
        assert_eq!(lines.len(), 6);
    }
}

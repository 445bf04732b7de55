//! `orchestra doctor`.

use std::{fmt::Write, time::Duration};

use orchestra_client::{Client, ClientError};
use orchestra_contracts::ProblemKind;
use orchestra_worker::{Check, checks, clock_check, sandbox_checks};
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    args::{Engine, Output, Server},
    clock,
    exit::Exit,
    failure::Failure,
    output::{Format, escape, print, print_json, print_line},
    place::{Answer, ask},
};

/// A clock that is asked for so long is compared with nothing.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Check the sandbox from the inside instead: start a job container, and check each promise of
    /// docs/security.md in it
    #[arg(long)]
    sandbox: bool,

    #[command(flatten)]
    engine: Engine,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    ok: bool,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl From<Check> for Finding {
    fn from(Check { name, ok, detail, fix }: Check) -> Self {
        Self { name, ok, detail, fix }
    }
}

pub(crate) async fn doctor(args: Doctor) -> Result<Exit, Failure> {
    let config = args.engine.worker()?;
    let checks = if args.sandbox { sandbox_checks(&config).await } else { checks(&config).await };
    let mut findings: Vec<Finding> = checks.into_iter().map(Finding::from).collect();
    if !args.sandbox {
        let client = args.server.client()?;
        findings.push(master(&args.server, &client).await);
        findings.extend(clocks(&client).await);
    }
    match args.output.format {
        Format::Json => print_json(&findings)?,
        Format::Table => print(&sheet(&findings))?,
        Format::Name => {
            let amiss = findings.iter().filter(|finding| !finding.ok);
            amiss.into_iter().try_for_each(|finding| print_line(finding.name))?;
        }
    }
    let well = findings.iter().all(|finding| finding.ok);
    Ok(if well { Exit::SUCCESS } else { Exit::FAILURE })
}

/// No master is no fault as long as nobody named one: `run` brings its own.
async fn master(server: &Server, client: &Client) -> Finding {
    let url = client.url();
    let (ok, detail, fix) = match ask(client).await {
        Answer::Master => lets_us_in(client).await,
        Answer::Nobody(_) if server.is_unspoken() => {
            (true, format!("none at {url}; run brings its own, or start one: orchestra up"), None)
        }
        Answer::Nobody(error) => (false, error.to_string(), Some("orchestra up".to_owned())),
        Answer::SomethingElse(error) => {
            let fix = "stop that program, or choose another port with ORCHESTRA_LISTEN";
            (false, error.to_string(), Some(fix.to_owned()))
        }
    };
    Finding { name: "master", ok, detail, fix }
}

/// Where a master answers. It was asked before, so no connection has to be made meanwhile.
async fn clocks(client: &Client) -> Option<Finding> {
    let asked = clock::now();
    let told = timeout(PATIENCE, client.date()).await.ok()?.ok()?;
    Some(Finding::from(clock_check(asked, told, clock::now())))
}

/// Health is told to anybody; this asks whether the token, or having none, will do.
async fn lets_us_in(client: &Client) -> (bool, String, Option<String>) {
    match client.workers().await {
        Err(ClientError::Refused(problem)) if problem.kind == ProblemKind::Unauthenticated => {
            let fix =
                "set ORCHESTRA_TOKEN_FILE to the file of a valid token, or ask an admin for one";
            (false, format!("{}: {}", client.url(), problem.detail), Some(fix.to_owned()))
        }
        _ => (true, format!("answers at {}", client.url()), None),
    }
}

fn sheet(findings: &[Finding]) -> String {
    let mut sheet = String::new();
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
    for Finding { name, ok, detail, fix } in findings {
        let mark = if *ok { "ok  " } else { "BAD " };
        let detail = escape::line(detail);
        writeln!(sheet, "{mark}  {name:<width$}  {detail}").expect("a String takes everything");
        if let Some(fix) = fix {
            let fix = escape::line(fix);
            writeln!(sheet, "      {:<width$}  to mend it: {fix}", "")
                .expect("a String takes everything");
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_followed_by_its_cure() {
        let finding = |ok: bool| Finding {
            name: if ok { "worker-files" } else { "engine" },
            ok,
            detail: "it\nis".into(),
            fix: (!ok).then(|| "sudo this".into()),
        };
        assert_eq!(
            sheet(&[finding(true), finding(false)]),
            "ok    worker-files  it\\nis\n\
             BAD   engine        it\\nis\n                    to mend it: sudo this\n"
        );
    }
}

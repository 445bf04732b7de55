//! Settings that a running master reloads at SIGHUP, from a file of NAME=VALUE lines: the file that
//! systemd reads as `EnvironmentFile` when it starts the program.
//!
//! Retention and the log filter can change at any time. All other settings are known to workers or
//! callers, or were used to allocate resources at startup: a change to one of those is logged, and
//! takes effect at the next restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use orchestra_contracts::{Size, Span};
use orchestra_program::{Hangups, set_log_filter};
use tokio_util::sync::CancellationToken;

use crate::service::{Retention, Service};

type Lines = BTreeMap<String, String>;

const LOG: &str = "ORCHESTRA_LOG";
/// The log filter once the file no longer sets one.
const USUAL_LOG: &str = "info";

/// Reads the file now and at each SIGHUP. A file with a mistake changes nothing.
pub(crate) async fn run(file: PathBuf, service: Arc<Service>, shutdown: CancellationToken) {
    let mut hangups = Hangups::listen();
    let mut before = None;
    loop {
        match content(&file).and_then(|text| take_up(&service, before.as_ref(), &text)) {
            Ok(lines) => before = Some(lines),
            Err(reason) => {
                tracing::error!(file = %file.display(), "the settings stay as they are: {reason}");
            }
        }
        tokio::select! {
            () = hangups.next() => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// A missing file counts as empty.
fn content(file: &Path) -> Result<String, String> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::info!(file = %file.display(), "there are no settings to be read again");
            Ok(String::new())
        }
        read => read.map_err(|error| error.to_string()),
    }
}

fn take_up(service: &Service, before: Option<&Lines>, text: &str) -> Result<Lines, String> {
    let lines = parse(text)?;
    let before = before.cloned().unwrap_or_else(|| environment(&lines));
    let Changes { retention, log, later } = changes(service.retention(), &before, &lines)?;
    if let Some(filter) = log {
        set_log_filter(&filter)?;
        tracing::info!(filter, "what is logged has changed");
    }
    if retention != service.retention() {
        service.retain(retention);
        tracing::info!(?retention, "what is kept has changed");
    }
    for name in later {
        tracing::warn!(
            "{name} has another value now: it is taken up when the master is started again"
        );
    }
    Ok(lines)
}

/// The values in force at startup, for the names in the file.
#[expect(
    clippy::disallowed_methods,
    reason = "the file repeats the environment, and is compared with it"
)]
fn environment(lines: &Lines) -> Lines {
    let known = |name: &String| Some((name.clone(), env::var(name).ok()?));
    lines.keys().filter_map(known).collect()
}

#[derive(Debug, PartialEq)]
struct Changes {
    retention: Retention,
    log: Option<String>,
    /// Names of changed settings that need a restart.
    later: Vec<String>,
}

fn changes(mut retention: Retention, before: &Lines, now: &Lines) -> Result<Changes, String> {
    let (mut log, mut later) = (None, Vec::new());
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    for name in names {
        let text = now.get(name).map(String::as_str);
        if before.get(name).map(String::as_str) == text {
            continue;
        }
        if name == LOG {
            log = Some(text.unwrap_or(USUAL_LOG).to_owned());
        } else if !set(&mut retention, name, text)? {
            later.push(name.clone());
        }
    }
    Ok(Changes { retention, log, later })
}

/// Sets a retention setting. `false` if the name is not one.
fn set(retention: &mut Retention, name: &str, text: Option<&str>) -> Result<bool, String> {
    let Retention { jobs, logs, artifacts } = retention;
    let bytes = || Ok::<_, String>(read::<Size>(name, text)?.map(|size| size.0));
    match name {
        "ORCHESTRA_KEEP_JOBS" => jobs.age = read::<Span>(name, text)?,
        "ORCHESTRA_KEEP_JOB_COUNT" => jobs.most = read::<u64>(name, text)?,
        "ORCHESTRA_KEEP_LOGS" => logs.age = read::<Span>(name, text)?,
        "ORCHESTRA_KEEP_LOG_BYTES" => logs.most = bytes()?,
        "ORCHESTRA_KEEP_ARTIFACTS" => artifacts.age = read::<Span>(name, text)?,
        "ORCHESTRA_KEEP_ARTIFACT_BYTES" => artifacts.most = bytes()?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn read<T: FromStr<Err: Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, String> {
    text.map(|text| text.parse().map_err(|error| format!("{name}: {error}"))).transpose()
}

/// Parses lines as systemd does, except for continuation lines.
fn parse(text: &str) -> Result<Lines, String> {
    let mut lines = Lines::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            // The line may hold a password, so the error does not quote it.
            return Err(format!("line {number} is not of the form NAME=VALUE"));
        };
        let value = value.trim();
        let quoted = ['"', '\''].iter().find_map(|quote| {
            value.strip_prefix(*quote).and_then(|value| value.strip_suffix(*quote))
        });
        lines.insert(name.trim().to_owned(), quoted.unwrap_or(value).to_owned());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Keep;

    #[test]
    fn lines_are_read_as_systemd_reads_them() {
        let lines = parse("# a comment\n\n; another\nA=1\n B = \"x y\" \nC='='\nD=\n").unwrap();
        let expected = [("A", "1"), ("B", "x y"), ("C", "="), ("D", "")];
        assert_eq!(lines, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let refusal = parse("A=1\nhunter2\n").unwrap_err();
        assert!(refusal.contains("line 2") && !refusal.contains("hunter2"), "{refusal}");
    }

    #[test]
    fn what_can_change_is_taken_up_and_the_rest_is_named() {
        let before =
            parse("ORCHESTRA_KEEP_LOGS=7d\nORCHESTRA_LEASE=60s\nORCHESTRA_DATA=a").unwrap();
        let text = "ORCHESTRA_KEEP_JOB_COUNT=5\nORCHESTRA_KEEP_LOG_BYTES=1k\nORCHESTRA_LEASE=30s\n\
                    ORCHESTRA_DATA=a\nORCHESTRA_LOG=debug";
        let age = Some(Span::from_secs(60));
        let kept = Retention {
            logs: Keep { age, most: None },
            artifacts: Keep { age, most: None },
            ..Retention::default()
        };
        let found = changes(kept, &before, &parse(text).unwrap()).unwrap();
        assert_eq!(found.log.as_deref(), Some("debug"));
        assert_eq!(found.later, ["ORCHESTRA_LEASE"]);
        assert_eq!(found.retention.jobs, Keep { age: None, most: Some(5) });
        assert_eq!(found.retention.logs, Keep { age: None, most: Some(1024) }, "a line went");
        assert_eq!(found.retention.artifacts.age, age, "what the file never named stays");
    }

    #[test]
    fn a_mistake_changes_nothing() {
        for wrong in ["ORCHESTRA_KEEP_JOBS=soon", "ORCHESTRA_KEEP_LOG_BYTES=-1"] {
            let lines = parse(&format!("ORCHESTRA_KEEP_JOB_COUNT=5\n{wrong}")).unwrap();
            let refusal = changes(Retention::default(), &Lines::new(), &lines).unwrap_err();
            assert!(refusal.starts_with("ORCHESTRA_KEEP_"), "{refusal}");
        }
    }
}

//! A list that is kept fresh: drawn over itself on a terminal, and where the output is none, going on
//! below with what has changed.

use std::{
    collections::HashMap,
    io::{IsTerminal, stdout},
    time::Duration,
};

use orchestra_client::{Client, JobQuery};
use orchestra_contracts::{Job, JobId};
use ratatui::crossterm::terminal;
use tokio::time::{MissedTickBehavior, interval};

use super::{page, table, write};
use crate::{
    exit::Exit,
    failure::Failure,
    output::{Format, print, print_line, say},
};

/// The master is not asked more often.
const SHORTEST: Duration = Duration::from_millis(100);
/// Of a terminal that does not tell its height.
const USUAL_HEIGHT: u16 = 24;

/// Until the user ends it, or nobody reads on.
pub(super) async fn watch(
    client: &Client,
    query: &JobQuery,
    wanted: usize,
    format: Format,
    pause: Duration,
) -> Result<Exit, Failure> {
    let is_drawn = format == Format::Table && stdout().is_terminal();
    let mut looks = interval(pause.max(SHORTEST));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut printed, mut height, mut is_lost) = (Printed::default(), None, false);
    loop {
        looks.tick().await;
        let jobs = match page(client, &mut query.clone(), wanted).await {
            Ok(jobs) => jobs,
            // A master that was there comes back.
            Err(error) if error.is_temporary() && height.is_some() => {
                if !is_lost {
                    say(&format!("{error}; trying again until it answers"));
                    // What is drawn next stands below that.
                    height = Some(0);
                }
                is_lost = true;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        is_lost = false;
        if is_drawn {
            let rows = terminal::size().map_or(USUAL_HEIGHT, |(_, rows)| rows);
            let lines = fitting(&table(&jobs).text(), usize::from(rows));
            print(&picture(&lines, height.unwrap_or_default()))?;
            height = Some(lines.len());
            continue;
        }
        let changed = printed.changed(&jobs);
        if !changed.is_empty() || height.is_none() {
            if format == Format::Table && height.is_some() {
                print_line("")?;
            }
            write(&changed, format)?;
        }
        height = Some(0);
    }
}

/// As many lines as the terminal shows without scrolling: its last one is the cursor's.
fn fitting(text: &str, rows: usize) -> Vec<String> {
    let room = rows.saturating_sub(1).max(2);
    let all: Vec<&str> = text.lines().collect();
    let mut lines: Vec<String> = all.iter().take(room).map(|line| (*line).to_owned()).collect();
    if all.len() > room {
        let hidden = all.len() - room + 1;
        lines[room - 1] = format!("and {hidden} more, for which this terminal is not high enough");
    }
    lines
}

/// What draws these lines over the last ones, so many, above the cursor. The terminal cuts what is
/// wider than it, and breaks lines again afterwards. No colours, so none have to be left out.
fn picture(lines: &[String], over: usize) -> String {
    let up = if over > 0 { format!("\x1b[{over}A\r") } else { String::new() };
    let lines: String = lines.iter().flat_map(|line| [line.as_str(), "\x1b[K\n"]).collect();
    format!("\x1b[?7l{up}{lines}\x1b[J\x1b[?7h")
}

/// What was said of each job.
#[derive(Default)]
struct Printed(HashMap<JobId, Job>);

impl Printed {
    /// The jobs that are new or other than they were, the latest last. Those that are not in the
    /// list any more are forgotten.
    fn changed(&mut self, jobs: &[Job]) -> Vec<Job> {
        let changed: Vec<Job> = jobs
            .iter()
            .filter(|job| self.0.get(&job.id).is_none_or(|printed| !is_alike(printed, job)))
            .cloned()
            .collect();
        self.0 = jobs.iter().map(|job| (job.id, job.clone())).collect();
        changed
    }
}

/// Whether the list would say the same of both, how long it took apart.
fn is_alike(one: &Job, other: &Job) -> bool {
    let said = |job: &Job| {
        (job.status, job.cancelling, job.attempt, job.assigned_worker.clone(), super::why(job))
    };
    said(one) == said(other)
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::JobStatus;
    use serde_json::json;

    use super::*;

    fn job(id: i64, status: JobStatus) -> Job {
        serde_json::from_value(json!({
            "id": id, "command": "true", "maxRetries": 0, "queue": "default", "status": status,
            "assignedWorker": null, "retryCount": 0, "attempt": null, "output": "", "error": "",
            "outputTruncated": false, "exitCode": null, "outcome": null, "reason": null,
            "usage": null, "createdAt": "2026-01-01T11:58:00Z", "startedAt": null,
            "finishedAt": null,
        }))
        .unwrap()
    }

    #[test]
    fn only_what_has_changed_is_told_again() {
        let mut printed = Printed::default();
        let ids = |jobs: Vec<Job>| jobs.iter().map(|job| job.id.0).collect::<Vec<_>>();
        let [waits, runs] = [JobStatus::Pending, JobStatus::Running];
        assert_eq!(ids(printed.changed(&[job(2, waits), job(1, waits)])), [2, 1]);
        assert!(printed.changed(&[job(2, waits), job(1, waits)]).is_empty());
        assert_eq!(ids(printed.changed(&[job(3, waits), job(2, waits), job(1, runs)])), [3, 1]);
        // It was pushed out of the list, and is there again.
        assert_eq!(ids(printed.changed(&[job(3, waits)])), [0; 0]);
        assert_eq!(ids(printed.changed(&[job(3, waits), job(2, waits)])), [2]);
    }

    #[test]
    fn a_list_that_is_too_long_says_how_much_is_missing() {
        assert_eq!(fitting("H\n1\n2\n", 4), ["H", "1", "2"]);
        let cut = fitting("H\n1\n2\n3\n", 4);
        assert_eq!(cut, ["H", "1", "and 2 more, for which this terminal is not high enough"]);
        assert_eq!(fitting("H\n1\n2\n", 0).len(), 2);
    }

    #[test]
    fn a_list_is_drawn_over_the_last_one_and_the_rest_of_that_is_wiped() {
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(picture(&lines, 0), "\x1b[?7la\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h");
        assert_eq!(picture(&lines[..1], 2), "\x1b[?7l\x1b[2A\ra\x1b[K\n\x1b[J\x1b[?7h");
    }
}

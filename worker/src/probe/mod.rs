//! Examines the sandbox from within. A job, started like any other, asks what confines it, and each
//! answer is compared with what `docs/security.md` promises. The tests and `orchestra doctor
//! --sandbox` share one list, `promises.rs`.

mod promises;

use std::{net::SocketAddr, sync::Arc};

use futures::future::BoxFuture;
use orchestra_contracts::{AttemptNo, JobId, JobSpec, Outcome, Span, frame};
use tokio::{sync::mpsc, time::Instant};

pub(crate) use self::promises::PROMISES;
use crate::{
    Config, WarmConfig,
    control::Control,
    doctor::Check,
    executor::{
        Executor, RunEvent, RunSpec,
        docker::{DockerExecutor, HeldTo},
        uploads,
    },
};

/// One part of every job's confinement.
pub(crate) struct Promise {
    pub(crate) name: &'static str,
    /// What it means, for people.
    pub(crate) says: &'static str,
    /// Lines of bash that test it, with nothing but bash, coreutils, find and grep.
    script: &'static str,
    /// Their output if the promise holds.
    answer: fn(&Held) -> String,
}

/// What the job was started with.
pub(crate) struct Held {
    pub(crate) held_to: HeldTo,
    pub(crate) master: Option<SocketAddr>,
}

/// How long the probe may take, on a busy machine.
const TIMEOUT: std::time::Duration = std::time::Duration::from_mins(2);
/// No job of a master has this number.
const JOB: JobId = JobId(0);
const ATTEMPT: AttemptNo = AttemptNo(1);

/// Runs the probe in a job container with this worker's settings, without a master, and removes the
/// container. Returns one check per promise, or a single one that says why there are none.
pub fn sandbox_checks(config: &Config) -> BoxFuture<'_, Vec<Check>> {
    // Boxed for the same reason as `crate::run_until`.
    Box::pin(probe(config))
}

async fn probe(config: &Config) -> Vec<Check> {
    // Only one job runs.
    let config = Config { warm: WarmConfig::NONE, ..config.clone() };
    let start = async {
        let executor = DockerExecutor::start(&config).await.map_err(|error| error.to_string())?;
        let spec = JobSpec { timeout: Some(Span::from(TIMEOUT)), ..JobSpec::new(String::new()) };
        let held_to = executor.held_to(&spec.resources)?;
        let held = Held { held_to, master: address_of(&config.url) };
        let spec = JobSpec { command: script(&held), ..spec };
        let said = ask(&executor, spec).await;
        executor.close().await;
        Ok::<_, String>(judge(&said?, &held))
    };
    start.await.unwrap_or_else(|reason| {
        vec![Check::bad(
            "sandbox",
            format!("it could not be looked at: {reason}"),
            "orchestra doctor",
        )]
    })
}

/// The master's address, if its URL gives a number or localhost.
fn address_of(url: &str) -> Option<SocketAddr> {
    let authority = url.split("://").nth(1)?.split('/').next()?;
    authority.replace("localhost", "127.0.0.1").parse().ok()
}

/// The script of a job that tests all promises, each after a line with its name.
pub(crate) fn script(held: &Held) -> String {
    let master = held.master.map(|address| format!("master={address}\n"));
    let questions = PROMISES
        .iter()
        .map(|Promise { name, script, .. }| format!("echo '{MARK}{name}'\n(\n{script}\n) 2>&1\n"));
    let parts = [promises::COMMON.to_owned(), master.unwrap_or_default()];
    parts.into_iter().chain(questions).chain([format!("echo '{MARK}'\n")]).collect()
}

const MARK: &str = "== ";

/// Runs the job and returns its output, if it succeeds.
async fn ask(executor: &DockerExecutor, spec: JobSpec) -> Result<String, String> {
    let (control, (sender, mut events)) =
        (Control::new(Instant::now() + TIMEOUT * 2), mpsc::channel(64));
    let uploads = Arc::new(uploads::NoUploads);
    let run = RunSpec { job: JOB, attempt: ATTEMPT, element: None, spec, uploads };
    let collect = async {
        let (mut output, mut notes) = (Vec::new(), Vec::new());
        while let Some(event) = events.recv().await {
            if let RunEvent::Frame(frame::Frame {
                body: frame::Body::Bytes(stream, bytes), ..
            }) = event
            {
                let all = if stream == frame::Stream::Stdout { &mut output } else { &mut notes };
                all.extend_from_slice(&bytes);
            }
        }
        [output, notes].map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let (end, [output, notes]) =
        tokio::join!(executor.run(run, control.subscribe(), sender), collect);
    match end.outcome {
        Outcome::Exited { code: 0 } => Ok(output),
        outcome => Err(format!("{outcome} {}", notes.trim())),
    }
}

/// One check per promise, judged by the job's output.
pub(crate) fn judge(said: &str, held: &Held) -> Vec<Check> {
    let answers: Vec<_> =
        format!("\n{said}").split(&format!("\n{MARK}")).map(str::to_owned).collect();
    let answer_to = |name: &str| {
        answers.iter().find_map(|part| match part.split_once('\n').unwrap_or((part, "")) {
            (found, answer) if found == name => Some(answer.trim_end()),
            _ => None,
        })
    };
    PROMISES.iter().map(|promise| promise.judge(answer_to(promise.name), held)).collect()
}

impl Promise {
    fn judge(&self, found: Option<&str>, held: &Held) -> Check {
        let wanted = (self.answer)(held);
        match found {
            Some(found) if found == wanted => Check::good(self.name, self.says),
            Some(found) => {
                let detail = format!("{}: expected {wanted:?}, found {found:?}", self.says);
                Check::bad(self.name, detail, "docs/security.md, The sandbox")
            }
            None => Check::bad(self.name, "the job did not come so far", "orchestra doctor"),
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::Size;

    use super::*;
    use crate::config::{JobUser, Limits};

    fn held() -> Held {
        let limits = Limits { cpus: 1.5, memory: Size::mib(512), pids: 256, tmp: Size::mib(64) };
        let held_to = HeldTo { user: JobUser { uid: 1000, gid: 100 }, limits, file_size: 1 << 32 };
        Held { held_to, master: None }
    }

    fn perfect() -> String {
        let parts = PROMISES
            .iter()
            .map(|promise| format!("{MARK}{}\n{}\n", promise.name, (promise.answer)(&held())));
        parts.chain([format!("{MARK}\n")]).collect()
    }

    #[test]
    fn every_promise_can_be_kept() {
        let checks = judge(&perfect(), &held());
        assert_eq!(checks.len(), PROMISES.len());
        assert!(checks.iter().all(|check| check.ok), "{checks:?}");
    }

    #[test]
    fn every_promise_can_be_broken() {
        for (index, promise) in PROMISES.iter().enumerate() {
            let line = format!("{MARK}{}\n", promise.name);
            let more = perfect().replace(&line, &format!("{line}something else\n"));
            let missing = perfect().replace(&line, "");
            for said in [more, missing] {
                let checks = judge(&said, &held());
                assert!(!checks[index].ok, "{}", promise.name);
                assert!(checks[index].fix.is_some());
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> =
            PROMISES.iter().map(|promise| promise.name).collect();
        assert_eq!(names.len(), PROMISES.len());
    }

    #[test]
    fn a_master_is_tried_where_its_address_is_plain() {
        assert_eq!(address_of("http://127.0.0.1:5216"), "127.0.0.1:5216".parse().ok());
        assert_eq!(address_of("http://localhost:1/x"), "127.0.0.1:1".parse().ok());
        assert_eq!(address_of("http://master"), None);
    }
}

//! Builds the command line that runs a job's command by hand, as its newest attempt ran it. Its
//! flags mirror what `worker/src/executor/docker/create.rs` asks the engine for.

use std::fmt::Write;

use orchestra_contracts::{Attempt, JobId, JobSpec, Network, Ran, Repro};

use super::{Service, ServiceError};
use crate::domain::Refusal;

/// Stands in for PID 1, so that the shell is not PID 1, which the kernel shields from signals.
/// Starts the shell that the sandbox would, under the same name and without the variable that the
/// engine adds, and prints nothing itself about the end.
const FIRST: &str = "unset HOSTNAME; exec 3>&2 2>/dev/null; \
                     if [ -x /bin/bash ] || [ -x /usr/bin/bash ]; then s=bash; else s=sh; fi; \
                     (exec $s -c \"$1\" 2>&3 3>&-); exit $?";

/// Of every job container.
const HOST_NAME: &str = "orchestra";

/// The size of a page of memory, and the smallest number of files that a `/tmp` holds.
const PAGE: u64 = 4096;
const FEWEST_FILES: u64 = 1024;

impl Service {
    /// The command line for the newest attempt that ran.
    pub async fn repro(&self, id: JobId) -> Result<Repro, ServiceError> {
        let job = self.find(id).await?;
        let attempts = self.store.attempts(id).await?;
        let ran = attempts.iter().rev().find_map(|it| Some((it, it.ran.as_ref()?)));
        let (attempt, ran) = ran.ok_or(Refusal::IllegalStep(
            "not known to have run: no worker has told of a container of it",
        ))?;
        let element = job.element.map(|element| (element.array, element.index));
        Ok(of(&job.spec, (id, element), attempt, ran))
    }
}

/// A job's id; for a job of an array, also the array's id and the job's index.
type Place = (JobId, Option<(JobId, u32)>);

fn of(spec: &JobSpec, (id, element): Place, attempt: &Attempt, ran: &Ran) -> Repro {
    let mut line = String::new();
    if let Some(text) = stdin(spec) {
        let _ = write!(line, "printf %s {} | ", quoted(text));
    }
    line.push_str("docker run --rm");
    let mut flag = |flag: &str, value: &str| {
        let _ = write!(line, " --{flag} {}", quoted(value));
    };
    let (user, group) = ran.user.split_once(':').unwrap_or((&ran.user, &ran.user));
    let private = format!("/work:rw,exec,nosuid,nodev,mode=755,uid={user},gid={group}");
    match &ran.files {
        Some(files) => {
            let kind = if files.starts_with('/') { "bind" } else { "volume" };
            flag("mount", &format!("type={kind},source={files},target=/work"));
        }
        None => flag("tmpfs", &private),
    }
    flag("workdir", "/work");
    flag("user", &ran.user);
    flag("hostname", HOST_NAME);
    flag("network", if spec.network == Network::None { "none" } else { "bridge" });
    flag("memory", &ran.memory.0.to_string());
    flag("memory-swap", &ran.memory.0.to_string());
    flag("cpus", &ran.cpus.to_string());
    flag("pids-limit", &ran.pids.to_string());
    let (bytes, files) = (ran.tmp.0, (ran.tmp.0 / PAGE).max(FEWEST_FILES));
    let options = "rw,exec,nosuid,nodev,mode=1777";
    flag("tmpfs", &format!("/tmp:{options},size={bytes},nr_inodes={files}"));
    flag("shm-size", "64m");
    for limit in ["nofile=1024", "core=0"] {
        flag("ulimit", limit);
    }
    flag("ulimit", &format!("fsize={}", ran.file_size.0));
    flag("cap-drop", "ALL");
    flag("security-opt", "no-new-privileges");
    flag("ipc", "private");
    flag("oom-score-adj", "500");
    if let Some(runtime) = &ran.runtime {
        flag("runtime", runtime);
    }
    for (name, value) in ran.env.iter().chain(&spec.env) {
        flag("env", &format!("{name}={value}"));
    }
    for (name, value) in spec.own_variables(id, element) {
        flag("env", &format!("{name}={value}"));
    }
    flag("env", &format!("ORCHESTRA_ATTEMPT={}", attempt.number));
    // Without a value the engine's command line takes it from its own environment.
    for name in spec.secrets.keys() {
        flag("env", name);
    }
    flag("entrypoint", "/bin/sh");
    line.push_str(" --read-only");
    line.push_str(if stdin(spec).is_some() { " --interactive" } else { "" });
    let image = match (&ran.digest, ran.image.split(['@']).next()) {
        (Some(digest), Some(name)) => format!("{}@{digest}", without_tag(name)),
        _ => ran.image_id.clone(),
    };
    let words = [&image, "-c", FIRST, "sh", &spec.command].map(quoted);
    // A worker's word for an image is never read as a flag.
    let _ = write!(line, " -- {}", words.join(" "));
    Repro {
        attempt: attempt.number,
        worker: attempt.worker.clone(),
        command: line,
        secrets: spec.secrets.keys().cloned().collect(),
        notes: notes(spec, ran),
    }
}

fn notes(spec: &JobSpec, ran: &Ran) -> Vec<String> {
    let mut notes = Vec::new();
    notes.push(match &ran.files {
        Some(files) => format!("it works in {files}, as it is now and on the engine's own host"),
        None => "its folder is empty and in memory, and counts as that".to_owned(),
    });
    if let Some(first) = spec.files.first() {
        let more = match spec.files.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let path = quoted(&first.path);
        notes.push(format!("its files, {path}{more}, are not put there: the job itself has them"));
    }
    if spec.network == Network::Bridge {
        notes.push("its network is the engine's own: nothing on it is out of reach".to_owned());
    }
    if ran.digest.is_none() {
        notes.push(format!(
            "the image is {}, which only its engine has; `orchestra images build` makes one like it",
            ran.image
        ));
    }
    if let Some(timeout) = spec.timeout {
        notes.push(format!("nothing ends it after its {timeout}"));
    }
    notes.push(
        "the log's limits and the filter of system calls of Orchestra's own are missing".to_owned(),
    );
    notes
}

fn stdin(spec: &JobSpec) -> Option<&str> {
    spec.stdin.as_deref().filter(|text| !text.is_empty())
}

/// A colon before the last slash belongs to a port.
fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

/// One word of a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use orchestra_contracts::{AttemptNo, JobFile, Secret, Size};

    use super::*;

    fn ran() -> Ran {
        Ran {
            image: "orchestra/gcc:1".to_owned(),
            image_id: "sha256:ab".to_owned(),
            digest: None,
            user: "1000:100".to_owned(),
            cpus: 1.5,
            memory: Size::mib(1),
            pids: 9,
            tmp: Size::mib(64),
            file_size: Size(7),
            files: Some("/srv/it's here".to_owned()),
            runtime: None,
            env: [("HOME".to_owned(), "/tmp".to_owned())].into(),
        }
    }

    fn repro(spec: &JobSpec, ran: &Ran) -> Repro {
        let attempt = Attempt {
            number: AttemptNo(2),
            worker: "w".parse().unwrap(),
            claimed_at: Timestamp::UNIX_EPOCH,
            started_at: None,
            finished_at: None,
            outcome: None,
            reason: None,
            exit_code: None,
            usage: None,
            log_bytes: 0,
            queued_ms: None,
            ran: Some(ran.clone()),
        };
        of(spec, (JobId(7), None), &attempt, ran)
    }

    #[test]
    fn the_line_has_every_limit_and_no_secret() {
        let mut spec = JobSpec::new("echo 'a b'\nexit 3");
        spec.env = [("A".to_owned(), "$(b)".to_owned())].into();
        spec.secrets = [("TOKEN".to_owned(), Secret::new("hunter22"))].into();
        spec.stdin = Some("in".to_owned());
        let Repro { command, secrets, notes, .. } = repro(&spec, &ran());
        for part in [
            "printf %s in | docker run --rm ",
            r" --mount 'type=bind,source=/srv/it'\''s here,target=/work' ",
            " --user 1000:100 ",
            " --network none ",
            " --memory 1048576 --memory-swap 1048576 ",
            " --cpus 1.5 ",
            " --pids-limit 9 ",
            ",size=67108864,nr_inodes=16384 ",
            " --ulimit fsize=7 ",
            " --cap-drop ALL ",
            " --env HOME=/tmp ",
            " --env 'A=$(b)' ",
            " --env ORCHESTRA_ATTEMPT=2 ",
            " --env TOKEN ",
            " --read-only --interactive -- sha256:ab ",
        ] {
            assert!(command.contains(part), "{part} is not in {command}");
        }
        assert!(command.ends_with(" sh 'echo '\\''a b'\\''\nexit 3'"), "{command}");
        assert!(!format!("{command}{notes:?}").contains("hunter22"));
        assert_eq!(secrets, ["TOKEN"]);
        assert!(!notes.iter().any(|note| note.contains("network")), "{notes:?}");
        spec.network = Network::Bridge;
        let Repro { command, notes, .. } = repro(&spec, &ran());
        assert!(command.contains(" --network bridge "), "{command}");
        assert!(notes.iter().any(|note| note.contains("nothing on it is out of reach")));
    }

    #[test]
    fn files_that_came_with_the_job_are_told_of() {
        let told = |files: &[&str]| {
            let mut spec = JobSpec::new("true");
            spec.files = files.iter().map(|path| JobFile::of_text(*path, "x")).collect();
            let notes = repro(&spec, &ran()).notes;
            notes.into_iter().find(|note| note.starts_with("its files"))
        };
        assert_eq!(told(&[]), None);
        assert_eq!(
            told(&["a b"]).unwrap(),
            "its files, 'a b', are not put there: the job itself has them"
        );
        assert!(told(&["a", "b", "c"]).unwrap().starts_with("its files, a and 2 more, are not"));
    }

    #[test]
    fn worker_files_may_be_a_volume_of_the_engine() {
        let of = |files: &str| {
            let ran = Ran { files: Some(files.to_owned()), ..ran() };
            repro(&JobSpec::new("true"), &ran).command
        };
        assert!(of("files").contains(" --mount type=volume,source=files,target=/work "));
        assert!(of("/files").contains(" --mount type=bind,source=/files,target=/work "));
    }

    #[test]
    fn an_image_of_a_registry_is_named_by_its_digest() {
        for (image, named) in [
            ("127.0.0.1:5000/a/b:1", " -- 127.0.0.1:5000/a/b@sha256:cd "),
            ("127.0.0.1:5000/a/b", " 127.0.0.1:5000/a/b@sha256:cd "),
            ("ghcr.io/a@sha256:cd", " ghcr.io/a@sha256:cd "),
        ] {
            let (image, digest) = (image.to_owned(), Some("sha256:cd".to_owned()));
            let ran = Ran { image, digest, files: None, ..ran() };
            let command = repro(&JobSpec::new("true"), &ran).command;
            assert!(command.contains(named), "{command}");
            assert!(
                command.contains(" --tmpfs /work:rw,exec,nosuid,nodev,mode=755,uid=1000,gid=100 ")
            );
            assert!(!command.contains("--interactive"));
        }
    }
}

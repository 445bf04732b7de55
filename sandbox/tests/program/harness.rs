//! A sandbox, with the test as its worker.

use std::{
    fmt::Debug,
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use orchestra_sandbox::protocol::{
    Artifacts, Attempt, Changes, Command, Decoder, Event, Exit, File, Lease, Message, Run, Status,
    Stream,
};

/// The longest wait of any test, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Longer than any test takes.
pub(crate) const HOUR: Duration = Duration::from_hours(1);

pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

/// Few, so that a test that reads no events stalls the sandbox.
const EVENTS_AHEAD: usize = 4;

/// The attempt of every job here.
pub(crate) const ATTEMPT: Attempt = Attempt { job: 7, number: 2 };

/// A job with limits that it does not reach.
pub(crate) fn job(script: &str) -> Run {
    Run {
        attempt: ATTEMPT,
        script: script.into(),
        env: vec![(b"PATH".to_vec(), b"/usr/local/bin:/usr/bin:/bin".to_vec())],
        workdir: b"/".to_vec(),
        stdin: vec![],
        timeout: HOUR,
        grace: HOUR,
        lease: Lease::of(HOUR),
        log_head: 1 << 30,
        log_tail: 0,
        umask: 0o022,
        files: 0,
        masks: vec![],
        change_limit: 0,
        artifact_limit: 0,
        artifacts: vec![],
    }
}

pub(crate) fn job_in(workdir: &Path, script: &str) -> Run {
    Run { workdir: workdir.to_str().unwrap().into(), ..job(script) }
}

/// The program itself, to be started by another one.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_orchestra-sandbox");

#[derive(Debug)]
pub(crate) struct Sandbox {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    events: Option<Receiver<Event>>,
    /// Standard error belongs to this program alone: its end is the end of the process.
    complaints: Receiver<String>,
}

impl Sandbox {
    pub(crate) fn spawn(process: &mut Process) -> Self {
        let mut child = process
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built");
        let mut stderr = child.stderr.take().unwrap();
        let (sender, complaints) = sync_channel(1);
        thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            sender.send(text)
        });
        let (input, output) = (child.stdin.take(), child.stdout.take());
        Self { child, input, output, events: None, complaints }
    }

    /// Starts with a job and a reader.
    pub(crate) fn start(run: Run) -> Self {
        Self::start_with(vec![], run)
    }

    pub(crate) fn start_with(files: Vec<File>, run: Run) -> Self {
        let mut sandbox = Self::spawn(&mut Process::new(PROGRAM));
        sandbox.read();
        let whole = files.iter().filter(|file| !file.more).count();
        sandbox.send(&Command::Run(Box::new(Run { files: whole as u64, ..run })));
        for file in files {
            sandbox.send(&Command::File(file));
        }
        sandbox
    }

    /// Starts reading events.
    pub(crate) fn read(&mut self) {
        let mut output = self.output.take().expect("it is read once");
        let (sender, events) = sync_channel(EVENTS_AHEAD);
        self.events = Some(events);
        thread::spawn(move || {
            let mut decoder = Decoder::default();
            let mut chunk = vec![0; 64 << 10];
            while let count @ 1.. = output.read(&mut chunk).unwrap() {
                decoder.push(&chunk[..count]);
                while let Some(event) = decoder.next().expect("the program sends frames only") {
                    if sender.send(event).is_err() {
                        return;
                    }
                }
            }
        });
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn send(&mut self, command: &Command) {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        self.send_bytes(&bytes);
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Closes the sandbox's input, so that it gets no more commands.
    pub(crate) fn hang_up(&mut self) {
        self.input = None;
    }

    /// `None` after the last event.
    pub(crate) fn event(&self) -> Option<Event> {
        match self.events.as_ref().expect("somebody reads").recv_timeout(PATIENCE) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no event within {PATIENCE:?}"),
        }
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        std::iter::from_fn(|| self.event())
    }

    /// Reads until the job has written this to its standard output.
    pub(crate) fn wait_for(&self, text: &str) {
        let mut seen = Vec::new();
        for event in self.events() {
            if let Event::Output { stream: Stream::Stdout, bytes, .. } = event {
                seen.extend(bytes);
                if String::from_utf8_lossy(&seen).contains(text) {
                    return;
                }
            }
        }
        panic!("{text:?} was never written, but {:?}", String::from_utf8_lossy(&seen));
    }

    /// Waits for the end of the process, which must not complain, and returns its exit code.
    pub(crate) fn exit_code(&mut self) -> i32 {
        let text = self.complaints.recv_timeout(PATIENCE).expect("the process ends in time");
        assert_eq!(text, "");
        self.child.wait().unwrap().code().expect("it ends by itself")
    }

    /// For events that must not happen: the only wait that takes its whole time.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        !matches!(self.complaints.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }

    /// Reads everything to the end.
    pub(crate) fn finish(mut self) -> Report {
        let mut report = Report::default();
        for event in self.events() {
            report.add(event);
        }
        report.code = self.exit_code();
        report
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It has usually ended already. After a failed test it may not have; then it ends its job
        // when it is told to. Killing this process, which may be `unshare`, would not do that.
        if let Some(input) = &mut self.input {
            let mut bytes = Vec::new();
            Command::Kill.encode(&mut bytes);
            let _ = input.write_all(&bytes);
        }
        (self.events, self.output, self.input) = (None, None, None);
        let _ = self.complaints.recv_timeout(PATIENCE);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The output of a whole run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) notes: Vec<String>,
    pub(crate) gap: u64,
    pub(crate) changes: Option<Changes>,
    pub(crate) artifacts: Option<Artifacts>,
    pub(crate) exit: Option<Exit>,
    pub(crate) failed: Option<String>,
    at: Duration,
}

impl Report {
    fn add(&mut self, event: Event) {
        assert!(self.exit.is_none() && self.failed.is_none(), "{event:?} follows the last frame");
        match event {
            Event::Ready(_) | Event::Taken(_) | Event::Started => {}
            Event::Output { stream: Stream::Stdout, at, bytes, .. } => {
                self.pass(at);
                self.stdout.extend(bytes);
            }
            Event::Output { stream: Stream::Stderr, at, bytes, .. } => {
                self.pass(at);
                self.stderr.extend(bytes);
            }
            Event::Gap { bytes, .. } => self.gap += bytes,
            Event::Note { text, .. } => self.notes.push(text),
            Event::Changes(changes) => self.changes = Some(changes),
            Event::Artifacts(artifacts) => self.artifacts = Some(artifacts),
            Event::Exited(exit) => self.exit = Some(exit),
            Event::Failed(reason) => self.failed = Some(reason),
        }
    }

    /// Output is in order of time.
    fn pass(&mut self, at: Duration) {
        assert!(self.at <= at);
        self.at = at;
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit.unwrap_or_else(|| panic!("it did not get to its end: {self:?}"))
    }

    pub(crate) fn status(&self) -> Status {
        self.exit().status
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs a job to its end.
pub(crate) fn run(run: Run) -> Report {
    Sandbox::start(run).finish()
}

/// Compares bytes without printing megabytes of them.
pub(crate) fn assert_same_bytes(left: &[u8], right: &[u8], what: impl Debug) {
    assert_eq!(left.len(), right.len(), "{what:?}: the length differs");
    let differs = left.iter().zip(right).position(|(left, right)| left != right);
    assert_eq!(differs, None, "{what:?}: they differ there");
}

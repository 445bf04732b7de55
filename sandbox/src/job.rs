//! A running job: its processes, its output, its deadlines.

use std::{fs::File, io, iter, mem, os::fd::AsFd, time::Duration};

use orchestra_sandbox::protocol::{Command, Event, Exit, Killed, MAX_OUTPUT, Run, Status, Stream};

use crate::{
    OWN_FAILURE,
    clock::Clock,
    farewell,
    folder::Folder,
    ladder::{Ladder, Step},
    line::Line,
    mask::{Mask, Patterns},
    output::Limiter,
    pipe::Pipe,
    receive, shell,
    sys::{self, Signal},
    tree::Tree,
    usage::Usage,
    work::Work,
};

/// How long to wait after SIGKILL. A process is gone within milliseconds, unless it hangs in the
/// kernel.
const REAPING: Duration = Duration::from_secs(2);

/// The most that dead processes can leave in a pipe (`/proc/sys/fs/pipe-max-size`).
const LEFT_BEHIND: usize = 1 << 20;

/// The status of a shell that died of SIGTERM.
const TERMINATED: Status = Status::Signal(Signal::Terminate as u8);

pub(crate) struct Job<'a> {
    line: &'a mut Line,
    clock: &'a Clock,
    children: File,
    work: Work,
    tree: Tree,
    pipes: [Pipe; 2],
    chunk: Vec<u8>,
    /// One per stream, if the job has secrets.
    masks: Option<[Mask; 2]>,
    limiter: Limiter,
    ladder: Ladder,
    started: Duration,
    /// Resource usage and CPU time from before the job, which do not count.
    before: (Usage, Duration),
    /// When the shell ended.
    ended: Option<Duration>,
    /// A process that has not ended by then hangs in the kernel and is no longer waited for.
    patience: Duration,
    /// An invalid message from the worker.
    fault: Option<String>,
}

impl<'a> Job<'a> {
    /// `before` is the usage that does not count. The error is a sentence for the user.
    pub(crate) fn start(
        mut run: Box<Run>,
        before: Usage,
        line: &'a mut Line,
        clock: &'a Clock,
    ) -> Result<Self, String> {
        let before = (before, sys::cpu_of_children());
        let watching = |error| format!("cannot watch the job: {error}");
        let children = sys::watch_children().map_err(watching)?;
        shell::enter(&run)?;
        let root = Folder::working()
            .map_err(|error| format!("cannot open the working directory: {error}"))?;
        let lease = receive::files(&root, &run, line, clock)?;
        let work = Work::begin(root, &run, clock);
        let mut shell = shell::start(&run)?;
        let started = clock.now();
        let ladder = Ladder::new(&run, lease, started);
        let pipes = [
            Pipe::new(Stream::Stdout, shell.stdout.take()).map_err(watching)?,
            Pipe::new(Stream::Stderr, shell.stderr.take()).map_err(watching)?,
        ];
        line.send(&Event::Started);
        let limiter = Limiter::new(run.log_head, run.log_tail);
        let patterns = Patterns::of(mem::take(&mut run.masks));
        let masks = patterns.map(|patterns| [(); 2].map(|()| Mask::new(patterns.clone())));
        // It may hold megabytes and secrets, and is no longer needed.
        drop(run);
        Ok(Self {
            line,
            clock,
            children,
            work,
            tree: Tree::new(shell.id()),
            pipes,
            chunk: vec![0; MAX_OUTPUT],
            masks,
            limiter,
            ladder,
            started,
            before,
            ended: None,
            patience: Duration::MAX,
            fault: None,
        })
    }

    /// Attends to the job until its end; returns the exit code of this program.
    pub(crate) fn attend(mut self) -> io::Result<u8> {
        let attended = self.watch();
        if attended.is_err() {
            self.tree.signal(Signal::Kill);
        }
        attended?;
        self.sweep()?;
        self.unmask();
        let (code, last) = self.last_frame();
        self.line.flush()?;
        // A process that hangs in the kernel may hang on that folder.
        let looks = self.tree.is_gone()
            && matches!(&last, Event::Exited(exit) if exit.killed != Some(Killed::LeaseExpired));
        let found = looks.then(|| self.work.conclude(self.clock)).into_iter().flatten();
        let frames = self.limiter.finish().chain(found).chain(iter::once(last));
        farewell(self.line, self.clock, frames, self.ladder.lease())?;
        Ok(code)
    }

    /// Runs until all processes have ended.
    fn watch(&mut self) -> io::Result<()> {
        self.line.flush()?;
        while !self.tree.is_gone() && self.clock.now() < self.patience {
            let until = self.ladder.next().min(self.patience);
            let room = self.line.has_room();
            let [stdout, stderr] = self.pipes.each_ref().map(|pipe| pipe.end().filter(|_| room));
            let watched = [Some(self.children.as_fd()), stdout, stderr];
            let [children, stdout, stderr] =
                self.line.talk_and_watch(self.clock, until, watched)?;
            if children {
                self.reap()?;
            }
            self.obey();
            for (index, ready) in [stdout, stderr].into_iter().enumerate() {
                if ready {
                    self.pump(index)?;
                }
            }
            let step = self.ladder.due(self.clock.now());
            self.take(step);
            self.line.flush()?;
        }
        Ok(())
    }

    fn reap(&mut self) -> io::Result<()> {
        sys::acknowledge(&self.children)?;
        self.tree.reap();
        if self.tree.status().is_some() && self.ended.is_none() {
            self.ended = Some(self.clock.now());
        }
        self.end_with_the_shell();
        Ok(())
    }

    /// The end of the shell ends the whole job. A shell that died of SIGTERM did not wait for its
    /// children, so they keep the grace time to clean up.
    fn end_with_the_shell(&mut self) {
        let Some(status) = self.tree.status() else { return };
        let may_clean_up = self.ladder.in_grace() && status == TERMINATED;
        if may_clean_up && !self.tree.is_gone() {
            return;
        }
        self.ladder.close();
        if !self.tree.is_gone() {
            self.tree.signal(Signal::Kill);
            self.patience = self.patience.min(self.clock.now().saturating_add(REAPING));
        }
    }

    fn obey(&mut self) {
        loop {
            let step = match self.line.command() {
                Ok(None) => return,
                Ok(Some(Command::Renew(lease))) => {
                    self.ladder.renew(self.clock.end_of(lease), lease.until.is_some());
                    None
                }
                Ok(Some(Command::Terminate { grace })) => {
                    self.ladder.terminate(self.clock.now(), grace)
                }
                Ok(Some(Command::Kill)) => self.ladder.kill(),
                Ok(Some(Command::Run(_))) => {
                    self.give_up("the worker sent a second job".to_owned())
                }
                Ok(Some(Command::File(_))) => {
                    self.give_up("the worker sent a file too many".to_owned())
                }
                Err(reason) => self.give_up(reason),
            };
            self.take(step);
        }
    }

    fn give_up(&mut self, reason: String) -> Option<Step> {
        let step = self.ladder.give_up(&reason);
        self.fault.get_or_insert(reason);
        step
    }

    fn take(&mut self, step: Option<Step>) {
        let text = match step {
            None => return,
            Some(Step::Terminate(text)) => {
                self.tree.signal(Signal::Terminate);
                // A stopped process would not receive the signal.
                self.tree.signal(Signal::Continue);
                text
            }
            Some(Step::Kill(text)) => {
                self.tree.signal(Signal::Kill);
                text
            }
        };
        self.line.send(&Event::Note { at: self.clock.now(), text });
        self.end_with_the_shell();
    }

    /// Forwards one chunk of a pipe; returns its length.
    fn pump(&mut self, index: usize) -> io::Result<usize> {
        let count = self.pipes[index].read(&mut self.chunk)?;
        let bytes = &self.chunk[..count];
        match &mut self.masks {
            None => {
                pass(self.line, &mut self.limiter, self.pipes[index].stream(), self.clock, bytes);
            }
            Some(masks) => {
                let shown = masks[index].push(bytes);
                self.pass(index, &shown);
            }
        }
        Ok(count)
    }

    /// Forwards masked output, which can have any length.
    fn pass(&mut self, index: usize, shown: &[u8]) {
        for piece in shown.chunks(MAX_OUTPUT) {
            pass(self.line, &mut self.limiter, self.pipes[index].stream(), self.clock, piece);
        }
    }

    /// Forwards what was held back because it could have been the start of a secret.
    fn unmask(&mut self) {
        for index in 0..self.pipes.len() {
            if let Some(masks) = &mut self.masks {
                let shown = masks[index].finish();
                self.pass(index, &shown);
            }
        }
    }

    /// Reads what is left in the pipes, even if the worker has no room for it. Nobody writes any
    /// more, so it is at most what the pipes hold.
    fn sweep(&mut self) -> io::Result<()> {
        for index in 0..self.pipes.len() {
            let mut swept = 0;
            while swept < LEFT_BEHIND {
                match self.pump(index)? {
                    0 => break,
                    count => swept += count,
                }
            }
        }
        Ok(())
    }

    fn last_frame(&mut self) -> (u8, Event) {
        if let Some(fault) = self.fault.take() {
            return (OWN_FAILURE, Event::Failed(fault));
        }
        // It is set when the watch ends: the shell is among the processes that are gone, or ended
        // before.
        let status = self.tree.status().unwrap_or(Status::Signal(0));
        let code = match status {
            Status::Code(code) => code,
            Status::Signal(signal) => 128 | signal,
        };
        let (before, cpu_before) = self.before;
        let usage = Usage::read().since(before);
        let exit = Exit {
            status,
            killed: self.ladder.reason(),
            oom_kills: usage.oom_kills,
            cpu: sys::cpu_of_children().saturating_sub(cpu_before),
            wall: self.ended.unwrap_or(self.started).saturating_sub(self.started),
            peak_memory: usage.peak_memory,
            throttled: usage.throttled,
            // [`Line::send`] fills this in.
            said: 0,
        };
        (code, Event::Exited(exit))
    }
}

fn pass(line: &mut Line, limiter: &mut Limiter, stream: Stream, clock: &Clock, bytes: &[u8]) {
    let at = clock.now();
    let through = limiter.pass(stream, at, bytes);
    if !through.is_empty() {
        line.send_output(stream, at, through);
    }
}

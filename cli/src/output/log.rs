//! A job's log: its bytes, and around them what Orchestra has to say.
//!
//! Standard output goes to standard output and standard error to standard error:
//! unchanged to a file or a pipe, to a terminal with nothing in it that a terminal
//! would obey but colours, unless the caller wants it raw. System lines move by as a spinner
//! until the first output comes, and are dim lines afterwards; where nobody
//! watches they are only kept, to be told when the job could not be run.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
};

use jiff::Timestamp;
use orchestra_contracts::{
    Size,
    frame::{Body, Frame, Stream},
};
use orchestra_program::colours;
use tokio::io::{AsyncWrite, AsyncWriteExt, Stderr, Stdout};

use super::{escape, inert::Inert, spinner::Spinner};

/// Enough to hold the end of a failed image build.
const KEPT_LINES: usize = 20;

/// What of a log is shown, and how.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct View {
    /// Only this stream, and that to standard output.
    pub(crate) only: Option<Stream>,
    pub(crate) timestamps: bool,
    /// Show nothing but the command's own output.
    pub(crate) quiet: bool,
    /// Somebody sits at standard error.
    pub(crate) watched: bool,
    /// The command's bytes as they are, whoever reads them.
    pub(crate) raw: bool,
}

#[derive(Debug)]
pub(crate) struct LogPrinter {
    view: View,
    stdout: Stdout,
    stderr: Stderr,
    /// Until the first output.
    spinner: Option<Spinner>,
    /// The last system lines that were not printed.
    kept: VecDeque<String>,
    stamps: [Stamps; 2],
    /// For those of the two streams that go to a terminal.
    inert: [Option<Inert>; 2],
    stdout_closed: bool,
}

impl LogPrinter {
    pub(crate) fn new(view: View) -> Self {
        let spinning = view.watched && !view.quiet && view.only.is_none();
        Self {
            view,
            stdout: tokio::io::stdout(),
            stderr: tokio::io::stderr(),
            spinner: spinning.then(Spinner::new).flatten(),
            kept: VecDeque::new(),
            stamps: [Stamps::default(); 2],
            inert: [io::stdout().is_terminal(), io::stderr().is_terminal()]
                .map(|terminal| (terminal && !view.raw).then(Inert::default)),
            stdout_closed: false,
        }
    }

    /// What is waited for, while there is no output yet.
    pub(crate) fn progress(&self, line: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.show(line);
        }
    }

    /// Prints one frame, if it is to be seen.
    pub(crate) async fn frame(&mut self, frame: &Frame) -> io::Result<()> {
        match (&frame.body, self.view.only) {
            (Body::Bytes(stream, _), Some(only)) if *stream != only => Ok(()),
            (Body::Gap(_), Some(Stream::System)) => Ok(()),
            (Body::Bytes(Stream::System, bytes), None) => {
                self.system(&String::from_utf8_lossy(bytes)).await
            }
            (Body::Bytes(Stream::Stderr, bytes), None) => self.bytes(1, frame.time, bytes).await,
            (Body::Bytes(_, bytes), _) => self.bytes(0, frame.time, bytes).await,
            (Body::Gap(bytes), _) => {
                let left_out = Size(*bytes);
                self.note(&format!("{left_out} bytes were left out here, the output is too long"))
                    .await
            }
        }
    }

    /// A line of ours; not shown to those who want quiet.
    pub(crate) async fn note(&mut self, text: &str) -> io::Result<()> {
        if self.view.quiet { Ok(()) } else { self.line(text).await }
    }

    /// A line of ours (or several) that must be seen.
    pub(crate) async fn line(&mut self, text: &str) -> io::Result<()> {
        let (dim, plain) = if colours() { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        for line in text.lines() {
            let line = format!("{dim}orchestra: {}{plain}", escape::line(line));
            match &self.spinner {
                Some(spinner) => spinner.print(&line),
                None => write(&mut self.stderr, format!("{line}\n").as_bytes()).await?,
            }
        }
        Ok(())
    }

    /// Another attempt begins: what was said of the one before is settled.
    pub(crate) fn forget(&mut self) {
        self.kept.clear();
    }

    /// Prints the system lines that nobody has seen: the job was not run, and
    /// these say why.
    pub(crate) async fn confess(&mut self) -> io::Result<()> {
        for line in std::mem::take(&mut self.kept) {
            self.line(&line).await?;
        }
        Ok(())
    }

    /// There is nothing more: shows what was held back because it was not whole.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        let [stdout, stderr] =
            self.inert.each_mut().map(|inert| inert.as_mut().map(Inert::end).unwrap_or_default());
        self.out(&stdout).await?;
        write(&mut self.stderr, &stderr).await
    }

    async fn system(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            if self.view.watched && !self.view.quiet && self.spinner.is_none() {
                self.line(line).await?;
                continue;
            }
            self.progress(line);
            if self.kept.len() == KEPT_LINES {
                self.kept.pop_front();
            }
            self.kept.push_back(line.to_owned());
        }
        Ok(())
    }

    async fn bytes(&mut self, to: usize, time: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.spinner = None;
        let stamped;
        let bytes = if self.view.timestamps {
            stamped = self.stamps[to].put(time, bytes);
            &stamped
        } else {
            bytes
        };
        let inert = self.inert[to].as_mut().map(|inert| inert.take(bytes));
        let bytes = inert.as_deref().unwrap_or(bytes);
        if to == 1 { write(&mut self.stderr, bytes).await } else { self.out(bytes).await }
    }

    /// A reader that went away ends what it reads and nothing else: the job goes
    /// on, and so does waiting for its code.
    async fn out(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stdout_closed {
            return Ok(());
        }
        match write(&mut self.stdout, bytes).await {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.stdout_closed = true;
                Ok(())
            }
            written => written,
        }
    }

    /// Whether nobody reads standard output any more.
    pub(crate) fn is_unread(&self) -> bool {
        self.stdout_closed
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

/// Puts a time before each line of one stream.
#[derive(Clone, Copy, Debug, Default)]
struct Stamps {
    within_line: bool,
}

impl Stamps {
    fn put(&mut self, time: u64, bytes: &[u8]) -> Vec<u8> {
        let time = Timestamp::from_microsecond(time.cast_signed()).unwrap_or_default();
        let stamp = format!("{time:.6} ");
        let mut stamped = Vec::with_capacity(bytes.len() + stamp.len());
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if !self.within_line {
                stamped.extend_from_slice(stamp.as_bytes());
            }
            stamped.extend_from_slice(line);
            self.within_line = !line.ends_with(b"\n");
        }
        stamped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_gets_one_time() {
        let mut stamps = Stamps::default();
        let mut text = stamps.put(1_000_000, b"a\nb");
        text.extend(stamps.put(2_500_000, b"b\nc\n"));
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            text,
            "1970-01-01T00:00:01.000000Z a\n1970-01-01T00:00:01.000000Z bb\n\
             1970-01-01T00:00:02.500000Z c\n"
        );
    }
}

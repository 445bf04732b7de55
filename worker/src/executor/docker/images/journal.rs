//! The progress of one build, for everyone who waits for it.

use std::{future::Future, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};

/// Minimum pause between lines of tool output, of which there can be a lot.
const PAUSE: Duration = Duration::from_secs(1);

/// Enough for twenty minutes of one line a second and some steps, so a late reader still gets
/// everything from the beginning. Lines beyond that are dropped.
const MAX_LINES: usize = 2000;

/// After the end, a reader has this long to take what it has not read yet.
const FLUSH: Duration = Duration::from_secs(1);

/// The lines so far. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    said: watch::Sender<Said>,
}

#[derive(Debug, Default)]
struct Said {
    lines: Vec<String>,
    last_mention: Option<Instant>,
    over: bool,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self { said: watch::Sender::new(Said::default()) }
    }

    pub(super) fn say(&self, line: impl Into<String>) {
        self.said.send_modify(|said| said.push(line.into()));
    }

    /// Adds a line of frequent output. At most one such line a second is kept.
    pub(super) fn mention(&self, line: impl FnOnce() -> String) {
        self.said.send_if_modified(|said| {
            let now = Instant::now();
            if said.last_mention.is_some_and(|last| now - last < PAUSE) {
                return false;
            }
            said.last_mention = Some(now);
            said.push(line());
            true
        });
    }

    /// Waits for `work` and forwards every line meanwhile. A reader that reads nothing does not
    /// delay `work`.
    pub(super) async fn forward_until<T>(
        &self,
        work: impl Future<Output = T>,
        reader: mpsc::Sender<String>,
    ) -> T {
        let forward = self.forward(reader);
        tokio::pin!(forward, work);
        let done = tokio::select! {
            done = &mut work => done,
            () = &mut forward => return work.await,
        };
        self.said.send_modify(|said| said.over = true);
        // A reader that does not read loses only lines of progress.
        let _ = timeout(FLUSH, forward).await;
        done
    }

    async fn forward(&self, reader: mpsc::Sender<String>) {
        let mut said = self.said.subscribe();
        let mut read = 0;
        loop {
            let (new, over) = {
                let said = said.borrow_and_update();
                (said.lines[read..].to_vec(), said.over)
            };
            read += new.len();
            for line in new {
                if reader.send(line).await.is_err() {
                    return;
                }
            }
            if over || said.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Said {
    fn push(&mut self, line: String) {
        if self.lines.len() < MAX_LINES {
            self.lines.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_reader_gets_every_line_from_the_first() {
        let journal = Journal::new();
        journal.say("one");
        let (early, mut early_lines) = mpsc::channel(1);
        let (late, mut late_lines) = mpsc::channel(8);
        let work = async {
            journal.say("two");
            assert_eq!(early_lines.recv().await.as_deref(), Some("one"));
            assert_eq!(early_lines.recv().await.as_deref(), Some("two"));
            42
        };
        assert_eq!(journal.forward_until(work, early).await, 42);
        journal.forward_until(async {}, late).await;
        assert_eq!(late_lines.recv().await.as_deref(), Some("one"));
        assert_eq!(late_lines.recv().await.as_deref(), Some("two"));
        assert_eq!(late_lines.recv().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_read_or_is_gone_holds_nothing_up() {
        let journal = Journal::new();
        for number in 0..10 {
            journal.say(format!("line {number}"));
        }
        let (stuck, _kept) = mpsc::channel(1);
        assert_eq!(journal.forward_until(async { 1 }, stuck).await, 1);
        let (gone, lines) = mpsc::channel(1);
        drop(lines);
        assert_eq!(journal.forward_until(async { 2 }, gone).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn mentions_are_at_most_one_a_second() {
        let journal = Journal::new();
        for _ in 0..4 {
            for number in 0..10 {
                journal.mention(|| format!("mention {number}"));
            }
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        journal.say("said");
        let lines = journal.said.borrow().lines.clone();
        assert_eq!(lines, ["mention 0", "mention 0", "said"]);
    }
}

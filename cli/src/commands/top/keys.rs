//! Keys and changes of the terminal's size, as they arrive.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc;

/// So late the thread notices that nobody listens any more.
const LOOK: Duration = Duration::from_millis(100);
/// Nobody types faster than they are read.
const AHEAD: usize = 64;

/// The terminal can only be asked by a thread that waits for it.
pub(super) struct Keys {
    events: mpsc::Receiver<io::Result<Event>>,
    over: Arc<AtomicBool>,
}

impl Keys {
    pub(super) fn listen() -> Self {
        let (sender, events) = mpsc::channel(AHEAD);
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let event = match event::poll(LOOK) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                let broken = event.is_err();
                if sender.blocking_send(event).is_err() || broken {
                    return;
                }
            }
        });
        Self { events, over }
    }

    /// `None` when the terminal has gone.
    pub(super) async fn next(&mut self) -> Option<io::Result<Event>> {
        self.events.recv().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

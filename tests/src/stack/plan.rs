//! The configuration of a stack, and the limit on how many run at once.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Stack;
use crate::{Postgres, SmallDisk, engine, program};

/// How many tests run at once: they share one engine, and often two cores.
static TURNS: Semaphore = Semaphore::const_new(2);

/// The variable that sets the master's database.
const DATABASE: &str = "ORCHESTRA_DATABASE_URL";

/// The owner of worker-files when the tests run as root: any user but root.
const ORDINARY_USER: u32 = 1000;

/// The configuration of a [`Stack`].
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) workers: usize,
    pub(super) slots: u32,
    pub(super) shared_files: bool,
    pub(super) proxied: bool,
    pub(super) owner: u32,
    pub(super) disk: Option<&'static str>,
    pub(super) tokens: bool,
    pub(super) settings: Vec<(&'static str, String)>,
}

impl Default for Plan {
    /// One worker with two slots.
    fn default() -> Self {
        Self {
            workers: 1,
            slots: 2,
            shared_files: false,
            proxied: false,
            owner: ORDINARY_USER,
            disk: None,
            tokens: false,
            settings: Vec::new(),
        }
    }
}

impl Plan {
    /// The number of workers. With none, the stack needs no engine.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How many jobs each worker runs at once.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// All workers share one worker-files folder, instead of having one each.
    #[must_use]
    pub fn shared_files(mut self) -> Self {
        self.shared_files = true;
        self
    }

    /// Each worker reaches the master through its own [`crate::Proxy`].
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// The owner of worker-files. Only root can choose it.
    #[must_use]
    pub fn owner(mut self, uid: u32) -> Self {
        self.owner = uid;
        self
    }

    /// Puts the master's data on a disk of this size.
    #[must_use]
    pub fn disk(mut self, size: &'static str) -> Self {
        self.disk = Some(size);
        self
    }

    /// The master requires tokens. The workers and [`Stack::api`] have one each, see
    /// [`Stack::token_file`].
    #[must_use]
    pub fn with_tokens(mut self) -> Self {
        self.tokens = true;
        self
    }

    /// Sets an environment variable for master and workers.
    #[must_use]
    pub fn setting(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    /// Starts the stack. Returns `None`, and prints one line that says why, when there is no engine
    /// for the workers or no disk for the data.
    pub async fn start(mut self) -> Option<Stack> {
        if self.workers > 0 && !engine::is_there().await {
            return None;
        }
        let turn = turn().await;
        if self.workers > 0 {
            program::job_image().await;
        }
        let has_database = self.settings.iter().any(|(name, _)| *name == DATABASE);
        if self.disk.is_none() && !has_database {
            self.settings.extend(Postgres::asked_for().map(|url| (DATABASE, url)));
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = match self.disk {
            Some(size) => Some(SmallDisk::mount(folder.path().join("data"), size)?),
            None => None,
        };
        Some(Stack::start(self, turn, folder, disk).await)
    }
}

/// Permission to use the engine and much of the machine, until it is dropped.
pub type Turn = SemaphorePermit<'static>;

/// Waits for a turn. Starting a [`Stack`] takes one itself.
pub async fn turn() -> Turn {
    TURNS.acquire().await.expect("the semaphore is never closed")
}

/// A name that no other worker on this engine has.
pub fn unique_name(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

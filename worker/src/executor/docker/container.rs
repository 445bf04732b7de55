//! One container of ours, from before it is created until it is known to be gone.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orchestra_contracts::WorkerName;
use tokio::{runtime::Handle, time::sleep};
use tokio_util::task::TaskTracker;

use super::engine::{Engine, EngineError, Health};

/// What a container is for: `job`, or `helper` (see `volume.rs`).
pub(super) const ROLE_LABEL: &str = "orchestra.role";
pub(super) const WORKER_LABEL: &str = "orchestra.worker";
/// The process that made it, see `sweep.rs`.
pub(super) const PROCESS_LABEL: &str = "orchestra.process";

/// Pauses between tries to remove a container. After the last try the sweep takes over.
const RETRIES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(3)];

/// The names of the containers that this process owns. The sweep leaves them alone.
#[derive(Clone, Default)]
pub(super) struct Owned(Arc<Mutex<HashSet<String>>>);

impl Owned {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.lock().contains(name)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Owns the containers of one executor.
#[derive(Clone)]
pub(super) struct Keeper {
    pub(super) engine: Engine,
    pub(super) health: Health,
    pub(super) worker: WorkerName,
    /// Identifies this process among all that ever ran under the worker's name.
    pub(super) process: String,
    pub(super) owned: Owned,
    /// Removals that run in the background.
    pub(super) removals: TaskTracker,
}

impl Keeper {
    pub(super) fn new(engine: Engine, worker: WorkerName, process: String) -> Self {
        let (health, owned, removals) = (Health::new(), Owned::default(), TaskTracker::new());
        Self { engine, health, worker, process, owned, removals }
    }

    /// The labels of every container of this worker.
    pub(super) fn labels(&self, role: &str) -> HashMap<String, String> {
        let labels = [
            (ROLE_LABEL, role.to_owned()),
            (WORKER_LABEL, self.worker.to_string()),
            (PROCESS_LABEL, self.process.clone()),
        ];
        labels.map(|(label, value)| (label.to_owned(), value)).into()
    }

    /// Owns the container of this name from now on, whether or not the engine gets to create it.
    pub(super) fn container(&self, name: String) -> Container {
        self.owned.lock().insert(name.clone());
        Container { keeper: self.clone(), name, id: None, before: None, present: true }
    }

    /// Removes the container that has this `handle`, and answers whether it is certainly gone.
    /// Retries a few times.
    async fn remove(self, handle: String, names: Vec<String>) -> bool {
        let mut pauses = RETRIES.into_iter();
        let gone = loop {
            let error = match self.engine.remove(&handle).await {
                // A conflict means that it is already being removed.
                Ok(()) | Err(EngineError::NotFound(_) | EngineError::Conflict(_)) => break true,
                Err(error) => error,
            };
            let Some(pause) = pauses.next() else {
                tracing::warn!(
                    container = names.join(" or "),
                    "could not be removed, the sweep will try again: {error}"
                );
                break false;
            };
            sleep(pause).await;
        };
        self.owned.lock().retain(|name| !names.contains(name));
        gone
    }
}

/// A container that is removed on every path, at the latest when this is dropped.
pub(super) struct Container {
    keeper: Keeper,
    name: String,
    /// The engine's id, which survives a rename. `None` until the container is known to exist.
    id: Option<String>,
    /// Its name before a rename, which it may still have.
    before: Option<String>,
    present: bool,
}

impl Container {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.keeper.engine
    }

    pub(super) fn health(&self) -> &Health {
        &self.keeper.health
    }

    /// How the engine finds it: by its name, or by its id after a rename that may not have happened
    /// yet.
    pub(super) fn handle(&self) -> &str {
        self.id.as_deref().filter(|_| self.before.is_some()).unwrap_or(&self.name)
    }

    /// The engine has created it under its name.
    pub(super) fn is_made(&mut self, id: String) {
        self.id = Some(id);
    }

    /// Renames the container in the background. Nothing depends on the new name except what people
    /// see: both names stay owned until the container is gone.
    pub(super) fn rename_beside(&mut self, name: String) {
        self.keeper.owned.lock().insert(name.clone());
        let before = std::mem::replace(&mut self.name, name.clone());
        self.before = Some(before.clone());
        let engine = self.keeper.engine.clone();
        self.keeper.removals.spawn(async move {
            // Addresses the container by its old name. If another process has taken it over and
            // renamed it, a late call fails instead of undoing that.
            if let Err(error) = engine.with_retries(|| engine.rename(&before, &name)).await {
                tracing::debug!(container = before, "it is not called {name}: {error}");
            }
        });
    }

    fn removal(&self) -> impl Future<Output = bool> + Send + 'static {
        let names = self.before.iter().chain([&self.name]).cloned().collect();
        self.keeper.clone().remove(self.handle().to_owned(), names)
    }

    /// Removes the container, and returns `false` if the engine refuses several times. (Dropping it
    /// instead returns at once and removes it in the background.)
    pub(super) async fn remove(mut self) -> bool {
        // Set only after the removal: if this future is dropped before, `Drop` starts over.
        let gone = self.removal().await;
        self.present = false;
        gone
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.present {
            return;
        }
        // Without a runtime the process is ending. The next process's sweep removes the container.
        if let Ok(runtime) = Handle::try_current() {
            self.keeper.removals.spawn_on(self.removal(), &runtime);
        }
    }
}

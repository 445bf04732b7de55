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
/// Which process made it, see `sweep.rs`.
pub(super) const PROCESS_LABEL: &str = "orchestra.process";

/// Pauses between tries to remove a container; after the last it is left to the sweep.
const RETRIES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(3)];

/// The names of the containers that this process answers for. The sweep leaves them alone.
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

/// Answers for the containers of one executor.
#[derive(Clone)]
pub(super) struct Keeper {
    pub(super) engine: Engine,
    pub(super) health: Health,
    pub(super) worker: WorkerName,
    /// Marks this process among all that ever ran under the worker's name.
    pub(super) process: String,
    pub(super) owned: Owned,
    /// Removals that nobody waits for.
    pub(super) removals: TaskTracker,
}

impl Keeper {
    pub(super) fn new(engine: Engine, worker: WorkerName, process: String) -> Self {
        let (health, owned, removals) = (Health::new(), Owned::default(), TaskTracker::new());
        Self { engine, health, worker, process, owned, removals }
    }

    /// What every container of ours is labelled with.
    pub(super) fn labels(&self, role: &str) -> HashMap<String, String> {
        let labels = [
            (ROLE_LABEL, role.to_owned()),
            (WORKER_LABEL, self.worker.to_string()),
            (PROCESS_LABEL, self.process.clone()),
        ];
        labels.map(|(label, value)| (label.to_owned(), value)).into()
    }

    /// Answers for a container of this name from now on, whether or not the
    /// engine gets to create it.
    pub(super) fn container(&self, name: String) -> Container {
        self.owned.lock().insert(name.clone());
        Container { keeper: self.clone(), name, id: None, before: None, present: true }
    }

    /// Whether what the engine finds by this handle is gone for sure.
    async fn remove(self, handle: String, names: Vec<String>) -> bool {
        let mut pauses = RETRIES.into_iter();
        let gone = loop {
            let error = match self.engine.remove(&handle).await {
                // A conflict: somebody is removing it already.
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

/// Removed when it is dropped, on every path.
pub(super) struct Container {
    keeper: Keeper,
    name: String,
    /// The engine's own, which no renaming changes. `None` until it is known to be made.
    id: Option<String>,
    /// What it was called before, and may be called still.
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

    /// What the engine finds it by: its name, or its id where nobody knows which of two it has.
    pub(super) fn handle(&self) -> &str {
        self.id.as_deref().filter(|_| self.before.is_some()).unwrap_or(&self.name)
    }

    /// The engine has it by that name.
    pub(super) fn is_made(&mut self, id: String) {
        self.id = Some(id);
    }

    /// Has the engine give it another name, beside whatever goes on with it. Nothing depends on
    /// that but what people see, and a name of either kind is known to be ours until it is gone.
    pub(super) fn rename_beside(&mut self, name: String) {
        self.keeper.owned.lock().insert(name.clone());
        let before = std::mem::replace(&mut self.name, name.clone());
        self.before = Some(before.clone());
        let engine = self.keeper.engine.clone();
        self.keeper.removals.spawn(async move {
            // By the name that it had: what another process has taken over is called as that
            // one says, however late the engine comes to this.
            if let Err(error) = engine.with_retries(|| engine.rename(&before, &name)).await {
                tracing::debug!(container = before, "it is not called {name}: {error}");
            }
        });
    }

    fn removal(&self) -> impl Future<Output = bool> + Send + 'static {
        let names = self.before.iter().chain([&self.name]).cloned().collect();
        self.keeper.clone().remove(self.handle().to_owned(), names)
    }

    /// Returns when it is gone, or when the engine has refused several times: then the
    /// answer is `false`. (Dropping it returns at once, and it goes soon after.)
    pub(super) async fn remove(mut self) -> bool {
        // Marked only afterwards: when this future is dropped half way, Drop begins again.
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
        // Without a runtime the process is ending; the next one's sweep takes it.
        if let Ok(runtime) = Handle::try_current() {
            self.keeper.removals.spawn_on(self.removal(), &runtime);
        }
    }
}

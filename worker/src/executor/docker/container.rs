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
        Container { keeper: self.clone(), name, before: None, present: true }
    }

    /// Whether what had these names, one after the other, is gone for sure.
    async fn remove_all(self, names: Vec<String>) -> bool {
        let mut gone = true;
        for name in names {
            gone &= self.clone().remove(name).await;
        }
        gone
    }

    /// Whether it is gone for sure.
    async fn remove(self, name: String) -> bool {
        let mut pauses = RETRIES.into_iter();
        let gone = loop {
            let error = match self.engine.remove(&name).await {
                // A conflict: somebody is removing it already.
                Ok(()) | Err(EngineError::NotFound(_) | EngineError::Conflict(_)) => break true,
                Err(error) => error,
            };
            let Some(pause) = pauses.next() else {
                tracing::warn!(
                    container = name,
                    "could not be removed, the sweep will try again: {error}"
                );
                break false;
            };
            sleep(pause).await;
        };
        self.owned.lock().remove(&name);
        gone
    }
}

/// Removed when it is dropped, on every path.
pub(super) struct Container {
    keeper: Keeper,
    name: String,
    /// What it was called before, while nobody knows whether the engine has renamed it.
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

    /// Gives it another name. Where the engine gives no answer, it is removed by both.
    pub(super) async fn rename(&mut self, name: String) -> Result<(), EngineError> {
        self.keeper.owned.lock().insert(name.clone());
        let before = std::mem::replace(&mut self.name, name);
        self.before = Some(before.clone());
        self.keeper.engine.rename(&before, &self.name).await?;
        self.before = None;
        self.keeper.owned.lock().remove(&before);
        Ok(())
    }

    /// A renaming that is still under way may overtake the removal of the older name alone.
    fn names(&self) -> Vec<String> {
        self.before.iter().chain([&self.name]).cloned().collect()
    }

    /// Returns when it is gone, or when the engine has refused several times: then the
    /// answer is `false`. (Dropping it returns at once, and it goes soon after.)
    pub(super) async fn remove(mut self) -> bool {
        // Marked only afterwards: when this future is dropped half way, Drop begins again.
        let gone = self.keeper.clone().remove_all(self.names()).await;
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
            let removal = self.keeper.clone().remove_all(self.names());
            self.keeper.removals.spawn_on(removal, &runtime);
        }
    }
}

//! Registers this worker: at its start, when the master asks for it, and when its offer changes.

use std::sync::PoisonError;

use orchestra_client::{Backoff, ClientError};
use orchestra_contracts::worker::{Offer, Registration, Welcome};
use tokio::time::sleep;

use super::Worker;

impl Worker {
    /// Registers; repeats until the master answers.
    pub(super) async fn register(&self) -> Welcome {
        let mut backoff = Backoff::default();
        loop {
            match self.tell().await {
                Ok(welcome) => return welcome,
                Err(ClientError::Unreachable { .. }) => (),
                Err(error) => tracing::error!("this worker cannot register: {error}"),
            }
            sleep(backoff.next()).await;
        }
    }

    /// Registers once, with the current offer.
    pub(super) async fn tell(&self) -> Result<Welcome, ClientError> {
        let offer = self.executor.offer().borrow().clone();
        let registration = Registration { offer, ..self.terms.registration.clone() };
        let answer = self.master.register(&self.terms.name, &registration).await;
        self.link.note(&answer);
        if answer.is_ok() {
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = registration.offer;
        }
        answer
    }

    /// Registers again whenever the offer differs from the one that the master knows, until it is
    /// dropped.
    pub(super) async fn keep_told(&self) {
        let mut offers = self.executor.offer();
        loop {
            let offer = offers.borrow_and_update().clone();
            if !self.is_told(offer.as_ref()) {
                tracing::debug!("what jobs may have here has changed");
                self.register().await;
            }
            if offers.changed().await.is_err() {
                // It is an executor whose offer never changes.
                std::future::pending::<()>().await;
            }
        }
    }

    fn is_told(&self, offer: Option<&Offer>) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == offer
    }
}

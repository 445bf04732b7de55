//! Whoever waits for a job that does not begin is told why.

use std::{future::pending, time::Duration};

use orchestra_client::Client;
use orchestra_contracts::{JobId, JobStatus, explain::Reason};
use tokio::time::{Instant, sleep_until};

use crate::{failure::Failure, output::log::LogPrinter};

/// So long nobody wonders.
const PATIENCE: Duration = Duration::from_secs(3);
/// Until the reason is asked for again: another may have taken its place.
const AGAIN: Duration = Duration::from_secs(10);

/// Of one job.
pub(crate) struct Waiting {
    /// When to ask; `None` while it does not wait.
    ask_at: Option<Instant>,
    /// What was said last.
    said: Option<Reason>,
}

impl Waiting {
    /// From now on, if the job waits.
    pub(crate) fn of(status: JobStatus) -> Self {
        let mut waiting = Self { ask_at: None, said: None };
        waiting.note(status);
        waiting
    }

    /// Takes in how the job stands.
    pub(crate) fn note(&mut self, status: JobStatus) {
        match status {
            JobStatus::Pending if self.ask_at.is_some() => {}
            JobStatus::Pending => self.ask_at = Some(Instant::now() + PATIENCE),
            _ => *self = Self { ask_at: None, said: None },
        }
    }

    /// Until it is time to say something.
    pub(crate) async fn is_long(&self) {
        match self.ask_at {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }

    /// Says why the job waits, where that is news.
    pub(crate) async fn tell(
        &mut self,
        client: &Client,
        id: JobId,
        printer: &mut LogPrinter,
    ) -> Result<(), Failure> {
        self.ask_at = Some(Instant::now() + AGAIN);
        // The log goes on without it.
        let Ok(explanation) = client.explain(id).await else { return Ok(()) };
        let Some(reason) = explanation.reasons.into_iter().next() else { return Ok(()) };
        if explanation.status != JobStatus::Pending || self.is_known(&reason) {
            return Ok(());
        }
        let hint = reason.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        printer.note(&format!("job {id} waits: {}{hint}", reason.text)).await?;
        self.said = Some(reason);
        Ok(())
    }

    /// Only its figures may be others.
    fn is_known(&self, reason: &Reason) -> bool {
        let said = self.said.as_ref().map(|said| std::mem::discriminant(&said.cause));
        said == Some(std::mem::discriminant(&reason.cause))
    }
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::explain::Cause;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_job_that_waits_is_asked_about_after_three_seconds() {
        let begun = Instant::now();
        let mut waiting = Waiting::of(JobStatus::Pending);
        tokio::time::advance(Duration::from_secs(1)).await;
        waiting.note(JobStatus::Pending);
        waiting.is_long().await;
        assert_eq!(begun.elapsed(), PATIENCE, "it is counted from the first word");
        waiting.note(JobStatus::Assigned);
        let long = tokio::time::timeout(Duration::from_hours(1), waiting.is_long());
        assert!(long.await.is_err(), "it waits no more");
    }

    #[test]
    fn the_same_reason_is_said_once_whatever_its_figures() {
        let ahead = |jobs| Reason::from(Cause::Ahead { queue: "q".parse().unwrap(), jobs });
        let waiting = Waiting { ask_at: None, said: Some(ahead(3)) };
        assert!(waiting.is_known(&ahead(2)));
        assert!(!waiting.is_known(&Reason::from(Cause::Next)));
        assert!(!Waiting::of(JobStatus::Pending).is_known(&ahead(2)));
    }
}

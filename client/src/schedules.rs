//! Schedule calls.

use orchestra_contracts::{NewSchedule, Schedule, ScheduleChange, ScheduleName, paths};
use reqwest::Method;

use crate::{Client, ClientError};

impl Client {
    /// Creates a schedule. If the answer is lost, the repeated request is refused because the name
    /// is taken, so nothing is created twice.
    pub async fn create_schedule(&self, wanted: &NewSchedule) -> Result<Schedule, ClientError> {
        self.fetch(self.call(Method::POST, paths::SCHEDULES).json(wanted)).await
    }

    /// All schedules, by name.
    pub async fn schedules(&self) -> Result<Vec<Schedule>, ClientError> {
        self.fetch(self.call(Method::GET, paths::SCHEDULES)).await
    }

    pub async fn schedule(&self, name: &ScheduleName) -> Result<Schedule, ClientError> {
        self.fetch(self.call(Method::GET, &paths::schedule(name))).await
    }

    /// Pauses or resumes a schedule. Safe to repeat.
    pub async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
    ) -> Result<Schedule, ClientError> {
        self.fetch(self.call(Method::PATCH, &paths::schedule(name)).json(&change)).await
    }

    /// Removes a schedule; its jobs remain.
    pub async fn remove_schedule(&self, name: &ScheduleName) -> Result<(), ClientError> {
        self.send(self.call(Method::DELETE, &paths::schedule(name))).await.map(drop)
    }
}

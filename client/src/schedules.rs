//! The calls about schedules.

use orchestra_contracts::{NewSchedule, Schedule, ScheduleChange, ScheduleName, paths};
use reqwest::Method;

use crate::{Client, ClientError};

impl Client {
    /// Makes a schedule. Where the answer is lost, the same again is refused, since the name is
    /// taken: nothing begins twice.
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

    /// Pauses or resumes a schedule. Repeating it is safe.
    pub async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
    ) -> Result<Schedule, ClientError> {
        self.fetch(self.call(Method::PATCH, &paths::schedule(name)).json(&change)).await
    }

    /// Removes a schedule; its jobs stay.
    pub async fn remove_schedule(&self, name: &ScheduleName) -> Result<(), ClientError> {
        self.send(self.call(Method::DELETE, &paths::schedule(name))).await.map(drop)
    }
}

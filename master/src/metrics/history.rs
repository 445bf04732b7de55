//! The last hour, minute by minute, for the web page: which runs ended, and how long jobs had
//! waited. Its size is fixed. It starts empty with the master.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use orchestra_contracts::JobStatus;

/// Number of minutes that are kept.
pub const MINUTES: usize = 60;

/// What became of a job when an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Completed,
    Failed,
    Cancelled,
    /// The job will be tried again.
    Again,
}

impl End {
    /// All values, in the order in which they are stored and shown.
    pub const ALL: [Self; 4] = [Self::Completed, Self::Failed, Self::Cancelled, Self::Again];

    /// Derives it from the job's status after the attempt. A deleted job counts as cancelled.
    pub fn of(status: JobStatus, is_deleted: bool) -> Self {
        match status {
            _ if is_deleted => Self::Cancelled,
            JobStatus::Completed => Self::Completed,
            JobStatus::Failed => Self::Failed,
            JobStatus::Cancelled => Self::Cancelled,
            JobStatus::Pending | JobStatus::Assigned | JobStatus::Running => Self::Again,
        }
    }
}

/// The counts of one minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Minutes since 1970.
    number: i64,
    /// Indexed as [`End::ALL`].
    pub ended: [u64; 4],
    pub waits: Waits,
}

impl Minute {
    fn of(number: i64) -> Self {
        Self { number, ..Self::default() }
    }

    pub fn begins(&self) -> Timestamp {
        Timestamp::from_second(self.number.saturating_mul(60)).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.ended == [0; 4] && self.waits.count == 0
    }
}

/// A histogram of waiting times, whose cells are an eighth of a power of two wide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    pub count: u64,
    cells: Box<[u32; CELLS]>,
}

/// Covers up to 2^33 milliseconds (99 days). Longer waits count in the last cell.
const CELLS: usize = 248;

impl Default for Waits {
    fn default() -> Self {
        Self { count: 0, cells: Box::new([0; CELLS]) }
    }
}

impl Waits {
    fn add(&mut self, millis: u64) {
        self.count += 1;
        let cell = &mut self.cells[cell(millis)];
        *cell = cell.saturating_add(1);
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        for (cell, more) in self.cells.iter_mut().zip(&*other.cells) {
            *cell = cell.saturating_add(*more);
        }
    }

    /// The given percentile of the waiting times, in milliseconds, overestimated by at most an
    /// eighth. `None` if nothing was counted.
    pub fn within(&self, percent: u64) -> Option<u64> {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut counted = 0;
        let cell = self.cells.iter().position(|cell| {
            counted += u64::from(*cell);
            counted >= rank
        })?;
        Some(longest(cell))
    }
}

/// The cell of a waiting time: eight cells for each power of two, and one per millisecond below 8.
fn cell(millis: u64) -> usize {
    let Some(power) = millis.checked_ilog2().filter(|power| *power >= 3) else {
        return usize::try_from(millis).unwrap_or_default();
    };
    let eighth = (millis >> (power - 3)) & 7;
    usize::try_from(u64::from(power - 2) * 8 + eighth).map_or(CELLS - 1, |it| it.min(CELLS - 1))
}

/// The longest waiting time in a cell, in milliseconds.
fn longest(cell: usize) -> u64 {
    let (power, eighth) = (cell / 8, cell as u64 % 8);
    if power == 0 { eighth } else { ((8 + eighth + 1) << (power - 1)) - 1 }
}

/// The counts of the last hour.
#[derive(Debug, Default)]
pub struct History(Mutex<Vec<Minute>>);

impl History {
    pub fn ended(&self, at: Timestamp, end: End) {
        self.in_minute(at, |minute| minute.ended[end as usize] += 1);
    }

    /// Records that a job was handed out for the first time, `waited` milliseconds after it became
    /// claimable.
    pub fn handed_out(&self, at: Timestamp, waited: u64) {
        self.in_minute(at, |minute| minute.waits.add(waited));
    }

    /// The hour up to `now`, minute by minute, the oldest first and the current one last.
    pub fn minutes(&self, now: Timestamp) -> Vec<Minute> {
        let newest = number(now);
        let kept = self.kept();
        let oldest = newest + 1 - MINUTES as i64;
        let found = |number| kept.iter().find(|minute| minute.number == number);
        (oldest..=newest)
            .map(|number| found(number).cloned().unwrap_or_else(|| Minute::of(number)))
            .collect()
    }

    /// The clock never goes back, but a record may arrive late: it counts if its minute is still
    /// kept.
    fn in_minute(&self, at: Timestamp, count: impl FnOnce(&mut Minute)) {
        let number = number(at);
        let mut kept = self.kept();
        if let Some(minute) = kept.iter_mut().rev().find(|minute| minute.number == number) {
            return count(minute);
        }
        if kept.len() >= MINUTES
            && let Some(oldest) = (0..kept.len()).min_by_key(|place| kept[*place].number)
        {
            if kept[oldest].number > number {
                return;
            }
            kept.remove(oldest);
        }
        let mut minute = Minute::of(number);
        count(&mut minute);
        kept.push(minute);
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Minute>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn each_time_is_in_a_cell_that_is_little_wider_than_it() {
        for millis in (0..5000).chain([60_000, 3_600_000, 86_400_000, (1 << 33) - 1]) {
            let most = longest(cell(millis));
            assert!(millis <= most && most <= millis + millis / 8, "{millis}: {most}");
        }
        assert_eq!(cell(1 << 33), CELLS - 1);
        assert_eq!(cell(u64::MAX), CELLS - 1);
    }

    #[test]
    fn shares_are_of_those_that_were_counted() {
        let mut waits = Waits::default();
        assert_eq!(waits.within(50), None);
        (1..=100).for_each(|millis| waits.add(millis));
        assert_eq!(
            (waits.within(0), waits.within(5), waits.within(100)),
            (Some(1), Some(5), Some(103))
        );
        let half = waits.within(50).unwrap();
        assert!((50..=56).contains(&half), "{half}");
        let mut both = waits.clone();
        both.merge(&waits);
        assert_eq!((both.count, both.within(50)), (200, Some(half)));
    }

    #[test]
    fn an_hour_is_kept_and_what_is_older_makes_room() {
        let history = History::default();
        for minute in 0..200 {
            history.ended(at(minute * 60), End::Completed);
        }
        history.ended(at(199 * 60 + 59), End::Again);
        history.handed_out(at(198 * 60), 7);
        // Too late: its minute is no longer kept.
        history.ended(at(0), End::Failed);
        let minutes = history.minutes(at(199 * 60 + 30));
        assert_eq!(minutes.len(), MINUTES);
        assert_eq!((minutes[0].begins(), minutes[59].begins()), (at(140 * 60), at(199 * 60)));
        assert!(minutes[..59].iter().all(|minute| minute.ended == [1, 0, 0, 0]));
        assert_eq!((minutes[59].ended, minutes[58].waits.count), ([1, 0, 0, 1], 1));
        // An hour later none of it is shown, though it stays in memory until its place is needed.
        let later = history.minutes(at(260 * 60));
        assert!(later.iter().all(Minute::is_empty) && later[59].begins() == at(260 * 60));
        assert_eq!(history.kept().len(), MINUTES);
    }
}

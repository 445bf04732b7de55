//! Times and lengths of time as people read them.

use jiff::Timestamp;
use orchestra_contracts::Job;

/// How long ago, to the largest unit: `12s`, `3m`, `5h`, `2d`. What lies ahead is `0s`.
pub(crate) fn age(now: Timestamp, at: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0);
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long the newest attempt has run, or ran.
pub(crate) fn took(job: &Job, now: Timestamp) -> String {
    let Some(started) = job.started_at else { return String::new() };
    millis(job.finished_at.unwrap_or(now).duration_since(started).as_millis())
}

/// `250ms`, `1.5s`, `2m 5s`, `3h 4m`.
pub(crate) fn millis(millis: i128) -> String {
    match millis.max(0) {
        millis @ ..1000 => format!("{millis}ms"),
        millis @ 1000..60_000 => format!("{}.{}s", millis / 1000, millis % 1000 / 100),
        millis @ 60_000..3_600_000 => format!("{}m {}s", millis / 60_000, millis / 1000 % 60),
        millis => format!("{}h {}m", millis / 3_600_000, millis / 60_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (seconds, text) in
            [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (172_800, "2d")]
        {
            assert_eq!(age(now, Timestamp::from_second(1_000_000 - seconds).unwrap()), text);
        }
    }

    #[test]
    fn lengths_are_as_fine_as_matters() {
        for (number, text) in
            [(-1, "0ms"), (250, "250ms"), (1549, "1.5s"), (125_000, "2m 5s"), (11_040_000, "3h 4m")]
        {
            assert_eq!(millis(number), text);
        }
    }
}

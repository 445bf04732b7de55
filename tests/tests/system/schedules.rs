//! Jobs that a schedule starts at calendar times.

use std::time::Duration;

use orchestra_contracts::{JobStatus, Schedule, paths};
use orchestra_tests::{Plan, Stack, wait};

/// The next full minute is less than a minute away. The rest allows for a busy machine.
const MINUTE: Duration = Duration::from_mins(3);

async fn schedules(stack: &Stack) -> Vec<Schedule> {
    stack.api.get(paths::SCHEDULES).await.expect(200).json()
}

#[tokio::test]
async fn a_schedule_outlives_its_master_and_runs_when_its_time_has_come() {
    let Some(mut stack) = Plan::default().start().await else { return };
    let create = ["schedule", "create", "tick", "--cron", "* * * * *", "-e", "WHO=cron"];
    let create = [&create[..], &["--", "echo by $WHO"]].concat();
    let made = stack.cli(&create).await.expect(0).stdout;
    assert!(made.contains("tick") && made.contains("active"), "{made}");
    let taken = stack.cli(&create).await.expect(125);
    assert!(taken.stderr.contains("there is a schedule tick already"), "{taken:?}");
    // The first time is the next full minute after it was created.
    let second = schedules(&stack).await[0].created_at.as_second();
    let due = second - second.rem_euclid(60) + 60;
    stack.kill_master();
    stack.restart_master().await;

    let job = wait::until("the next minute's job", MINUTE, async || {
        stack.api.jobs("?label=schedule%3Dtick").await.into_iter().next()
    })
    .await;
    let _ = stack.cli(&["schedule", "pause", "tick"]).await.expect(0);
    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.output.as_str()), (JobStatus::Completed, "by cron\n"), "{job:?}");
    assert!(job.created_at.as_second() >= due, "it began before its time: {job:?}");

    let shown = &schedules(&stack).await[0];
    assert!(shown.paused && shown.last_job.is_some(), "{shown:?}");
    assert!(shown.last_time.is_some_and(|time| time.as_second() >= due), "{shown:?}");
    let listed = stack.cli(&["schedule", "ls"]).await.expect(0).stdout;
    assert!(listed.contains("paused"), "{listed}");
    let removed = stack.cli(&["schedule", "rm", "tick"]).await.expect(0);
    assert_eq!(removed.stdout, "tick\n");
    assert_eq!(schedules(&stack).await, []);
    stack.stop().await;
}

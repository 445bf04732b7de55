//! Schedules are kept, and each of their times comes once.

use futures::future::join_all;
use jiff::Timestamp;
use orchestra_contracts::{JobStatus, NewSchedule, Outcome, Overlap, ScheduleChange, ScheduleName};

use super::{Held, TestStore, at, every_adapter, spec};
use crate::{
    domain::{Job, JobEvent},
    store::{Added, Begin, MAX_SCHEDULES, ScheduleRecord, Skip, Step, Stepped},
};

every_adapter!(
    a_schedule_is_kept_as_it_was_made,
    a_name_is_taken_once,
    there_is_a_most,
    those_that_are_due_come_by_time_and_name,
    a_paused_one_is_not_due,
    of_two_who_take_the_same_step_one_does,
    a_step_is_of_the_schedule_that_was_read,
    what_was_skipped_adds_up,
    a_policy_looks_at_jobs_that_have_not_ended,
    a_job_that_is_run_again_counts_as_open,
    those_of_others_are_not_its_own,
    a_step_is_kept_over_a_restart,
);

fn name(text: &str) -> ScheduleName {
    text.parse().unwrap()
}

fn record(of: &str, next: i64) -> ScheduleRecord {
    let what = NewSchedule::new(name(of), "* * * * *", spec("true"));
    ScheduleRecord::new(what, Some(at(next).now), at(0).now)
}

async fn add(store: &TestStore, of: &str, next: i64) -> ScheduleRecord {
    let record = record(of, next);
    assert_eq!(store.add_schedule(record.clone()).await.unwrap(), Added::New);
    record
}

async fn read(store: &TestStore, of: &str) -> ScheduleRecord {
    store.schedule(&name(of)).await.unwrap().expect("it is there")
}

/// From second `was` to second `next`, with a job.
fn step(of: &ScheduleRecord, was: i64, next: i64) -> Step {
    let begin = Begin { time: at(was).now, spec: of.what.spec.clone(), overlap: of.what.overlap };
    Step {
        name: of.what.name.clone(),
        created_at: of.created_at,
        was: at(was).now,
        next: Some(at(next).now),
        begin: Some(begin),
        skipped: 0,
        newest_skip: None,
        now: at(was).now,
    }
}

fn under(overlap: Overlap, step: Step) -> Step {
    let begin = step.begin.map(|begin| Begin { overlap, ..begin });
    Step { begin, ..step }
}

async fn taken(store: &TestStore, step: Step) -> Job {
    match store.step_schedule(step).await.unwrap() {
        Stepped::Done(Some(job)) => *job,
        other => panic!("no job began: {other:?}"),
    }
}

async fn pause(store: &TestStore, of: &str, paused: bool, second: i64) -> Option<ScheduleRecord> {
    let change = ScheduleChange { paused: Some(paused) };
    store.change_schedule(&name(of), change, at(second).now).await.unwrap()
}

async fn due(store: &TestStore, now: i64, after: Option<(i64, &str)>, limit: u32) -> Vec<String> {
    let after: Option<(Timestamp, ScheduleName)> = after.map(|(time, of)| (at(time).now, name(of)));
    let due = store.due_schedules(at(now).now, after, limit).await.unwrap();
    due.iter().map(|record| record.what.name.to_string()).collect()
}

async fn a_schedule_is_kept_as_it_was_made(mut store: TestStore) {
    assert_eq!(store.schedules().await.unwrap(), []);
    let mut made = record("nightly", 60);
    made.what.time_zone = "Europe/Berlin".into();
    made.what.overlap = Overlap::Replace;
    made.what.catch_up = orchestra_contracts::Span::from_millis(1_500);
    assert_eq!(store.add_schedule(made.clone()).await.unwrap(), Added::New);
    let other = add(&store, "a", 120).await;
    store.reopen().await;
    assert_eq!(store.schedules().await.unwrap(), [other, made.clone()]);
    assert_eq!(read(&store, "nightly").await, made);
    assert_eq!(store.schedule(&name("b")).await.unwrap(), None);
    assert!(store.remove_schedule(&name("nightly")).await.unwrap());
    assert!(!store.remove_schedule(&name("nightly")).await.unwrap());
    assert_eq!(store.schedule(&name("nightly")).await.unwrap(), None);
}

async fn a_name_is_taken_once(store: TestStore) {
    let first = add(&store, "a", 60).await;
    assert_eq!(store.add_schedule(record("a", 90)).await.unwrap(), Added::Exists);
    assert_eq!(read(&store, "a").await, first);
    let many = (0..4).map(|next| {
        let store = store.share();
        async move { store.add_schedule(record("b", next)).await.unwrap() }
    });
    let new = join_all(many).await.into_iter().filter(|added| *added == Added::New).count();
    assert_eq!(new, 1);
}

async fn there_is_a_most(store: TestStore) {
    let all = (0..MAX_SCHEDULES).map(|number| {
        let store = store.share();
        async move { store.add_schedule(record(&number.to_string(), 60)).await.unwrap() }
    });
    assert!(join_all(all).await.into_iter().all(|added| added == Added::New));
    assert_eq!(store.add_schedule(record("more", 60)).await.unwrap(), Added::Full);
    assert_eq!(store.add_schedule(record("7", 60)).await.unwrap(), Added::Exists);
    store.remove_schedule(&name("7")).await.unwrap();
    add(&store, "more", 60).await;
}

async fn those_that_are_due_come_by_time_and_name(store: TestStore) {
    for (of, next) in [("b", 60), ("a", 60), ("late", 30), ("never", 900)] {
        add(&store, of, next).await;
    }
    let ended = ScheduleRecord { next_at: None, ..record("ended", 0) };
    store.add_schedule(ended).await.unwrap();
    assert_eq!(due(&store, 29, None, 9).await, [""; 0]);
    assert_eq!(due(&store, 30, None, 9).await, ["late"]);
    assert_eq!(due(&store, 60, None, 9).await, ["late", "a", "b"]);
    assert_eq!(due(&store, 60, None, 2).await, ["late", "a"]);
    assert_eq!(due(&store, 60, Some((60, "a")), 9).await, ["b"]);
    assert_eq!(due(&store, 60, Some((60, "b")), 9).await, [""; 0]);
}

async fn a_paused_one_is_not_due(mut store: TestStore) {
    let made = add(&store, "a", 60).await;
    assert_eq!(pause(&store, "b", true, 5).await, None);
    let paused = pause(&store, "a", true, 5).await.unwrap();
    assert_eq!(paused, ScheduleRecord { paused_since: Some(at(5).now), ..made.clone() });
    assert_eq!(pause(&store, "a", true, 9).await.unwrap(), paused, "since the first time");
    store.reopen().await;
    assert_eq!(due(&store, 99, None, 9).await, [""; 0]);
    assert_eq!(store.step_schedule(step(&made, 60, 120)).await.unwrap(), Stepped::NotDue);
    let nothing = ScheduleChange::default();
    let same = store.change_schedule(&name("a"), nothing, at(9).now).await.unwrap();
    assert_eq!(same, Some(paused));
    assert_eq!(pause(&store, "a", false, 9).await, Some(made));
    assert_eq!(due(&store, 99, None, 9).await, ["a"]);
}

async fn of_two_who_take_the_same_step_one_does(store: TestStore) {
    let made = add(&store, "a", 60).await;
    let both = (0..8).map(|_| {
        let (store, step) = (store.share(), under(Overlap::Allow, step(&made, 60, 120)));
        async move { store.step_schedule(step).await.unwrap() }
    });
    let stepped = join_all(both).await;
    let done = stepped.iter().filter(|stepped| matches!(stepped, Stepped::Done(_))).count();
    assert_eq!((done, stepped.len()), (1, 8), "{stepped:?}");
    assert_eq!(
        store
            .jobs(&crate::store::JobFilter { limit: 9, ..Default::default() })
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(read(&store, "a").await.next_at, Some(at(120).now));
}

async fn a_step_is_of_the_schedule_that_was_read(store: TestStore) {
    let made = add(&store, "a", 60).await;
    store.remove_schedule(&name("a")).await.unwrap();
    assert_eq!(store.step_schedule(step(&made, 60, 120)).await.unwrap(), Stepped::NotDue);
    let later = ScheduleRecord { created_at: at(1).now, ..made.clone() };
    store.add_schedule(later.clone()).await.unwrap();
    assert_eq!(store.step_schedule(step(&made, 60, 120)).await.unwrap(), Stepped::NotDue);
    let job = taken(&store, step(&later, 60, 120)).await;
    assert_eq!((job.spec.command.as_str(), job.created_at), ("true", at(60).now));
}

async fn what_was_skipped_adds_up(store: TestStore) {
    let made = add(&store, "a", 60).await;
    let skip = |second: i64| Skip { time: at(second).now, reason: format!("it was {second}") };
    let missed =
        Step { begin: None, skipped: 3, newest_skip: Some(skip(180)), ..step(&made, 60, 240) };
    assert_eq!(store.step_schedule(missed).await.unwrap(), Stepped::Done(None));
    let now = read(&store, "a").await;
    assert_eq!((now.skipped, now.newest_skip.clone(), now.last), (3, Some(skip(180)), None));
    let job = taken(&store, step(&made, 240, 300)).await;
    let now = read(&store, "a").await;
    assert_eq!((now.skipped, now.newest_skip), (3, Some(skip(180))), "it is remembered");
    assert_eq!(now.last, Some((at(240).now, job.id)));
    let last = Step {
        begin: None,
        skipped: 1,
        newest_skip: Some(skip(300)),
        next: None,
        ..step(&made, 300, 0)
    };
    assert_eq!(store.step_schedule(last).await.unwrap(), Stepped::Done(None));
    let now = read(&store, "a").await;
    assert_eq!((now.skipped, now.newest_skip, now.next_at), (4, Some(skip(300)), None));
    assert_eq!(now.last, Some((at(240).now, job.id)));
}

async fn a_policy_looks_at_jobs_that_have_not_ended(store: TestStore) {
    let made = add(&store, "a", 60).await;
    let first = taken(&store, step(&made, 60, 120)).await;
    let skipped = store.step_schedule(under(Overlap::Skip, step(&made, 120, 180))).await.unwrap();
    assert_eq!(skipped, Stepped::Done(None));
    let reason = format!("job {}, which it began before, had not ended", first.id);
    let now = read(&store, "a").await;
    assert_eq!((now.skipped, now.next_at), (1, Some(at(180).now)));
    assert_eq!(now.newest_skip, Some(Skip { time: at(120).now, reason }));
    assert_eq!(now.last, Some((at(60).now, first.id)));

    let replace = under(Overlap::Replace, step(&made, 180, 240));
    let waits = store.step_schedule(replace.clone()).await.unwrap();
    assert_eq!(waits, Stepped::Waits(vec![first.id]));
    assert_eq!(read(&store, "a").await, now, "nothing was changed");
    store.event(first.id, JobEvent::CancelRequested, at(181)).await;
    let second = taken(&store, replace).await;

    let third = taken(&store, under(Overlap::Allow, step(&made, 240, 300))).await;
    let replace = under(Overlap::Replace, step(&made, 300, 360));
    let waits = store.step_schedule(replace).await.unwrap();
    assert_eq!(waits, Stepped::Waits(vec![second.id, third.id]));
}

async fn a_job_that_is_run_again_counts_as_open(store: TestStore) {
    let made = add(&store, "a", 60).await;
    let first = taken(&store, step(&made, 60, 120)).await;
    let held = store.claim_one("w", at(61)).await;
    store.event(first.id, held.ended(Outcome::Exited { code: 1 }), at(62)).await;
    let second = taken(&store, step(&made, 120, 180)).await;
    store.event(second.id, JobEvent::CancelRequested, at(121)).await;
    store.event(first.id, JobEvent::RetryRequested, at(122)).await;
    let step = step(&made, 180, 240);
    let waits = store.step_schedule(under(Overlap::Replace, step.clone())).await.unwrap();
    assert_eq!(waits, Stepped::Waits(vec![first.id]));
    store.event(first.id, JobEvent::DeleteRequested, at(123)).await;
    assert_eq!(taken(&store, step).await.status(), JobStatus::Pending);
}

async fn those_of_others_are_not_its_own(store: TestStore) {
    let made = add(&store, "a", 60).await;
    let other = add(&store, "b", 60).await;
    let labels = [("schedule".to_owned(), "a".to_owned())].into();
    store.submit(orchestra_contracts::JobSpec { labels, ..spec("true") }).await;
    taken(&store, step(&other, 60, 120)).await;
    taken(&store, step(&made, 60, 120)).await;
}

async fn a_step_is_kept_over_a_restart(mut store: TestStore) {
    let made = add(&store, "a", 60).await;
    let job = taken(&store, step(&made, 60, 120)).await;
    store.reopen().await;
    let now = read(&store, "a").await;
    assert_eq!((now.next_at, now.last), (Some(at(120).now), Some((at(60).now, job.id))));
    assert_eq!(store.read(job.id).await, job);
    assert_eq!(store.step_schedule(step(&made, 60, 120)).await.unwrap(), Stepped::NotDue);
    let waits = under(Overlap::Replace, step(&made, 120, 180));
    assert_eq!(store.step_schedule(waits).await.unwrap(), Stepped::Waits(vec![job.id]));
    let held: Held = store.claim_one("w", at(121)).await;
    assert_eq!(held.job.id, job.id, "it goes the way of every other job");
}

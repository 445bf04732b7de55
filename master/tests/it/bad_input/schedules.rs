//! Schedules that can be parsed but are invalid.

use super::{Row, SCHEDULES, check, invalid};

pub(super) const ROWS: &[Row] = &[
    invalid(SCHEDULES, "{}", "/name"),
    invalid(SCHEDULES, "[]", ""),
    invalid(SCHEDULES, r#"{"name": "a"}"#, "/cron"),
    invalid(SCHEDULES, r#"{"name": "a", "cron": "@daily"}"#, "/spec"),
    invalid(SCHEDULES, r#"{"name": "", "cron": "@daily", "spec": {"command": "x"}}"#, "/name"),
    invalid(SCHEDULES, r#"{"name": "a b", "cron": "@daily", "spec": {"command": "x"}}"#, "/name"),
    invalid(SCHEDULES, r#"{"name": "a/b", "cron": "@daily", "spec": {"command": "x"}}"#, "/name"),
    invalid(SCHEDULES, r#"{"name": 1, "cron": "@daily", "spec": {"command": "x"}}"#, "/name"),
    invalid(SCHEDULES, r#"{"name": null, "cron": "@daily", "spec": {"command": "x"}}"#, "/name"),
    invalid(
        SCHEDULES,
        r#"{"name": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "cron": "@daily", "spec": {"command": "x"}}"#,
        "/name",
    ),
    invalid(SCHEDULES, r#"{"name": "a", "cron": "", "spec": {"command": "x"}}"#, "/cron"),
    invalid(SCHEDULES, r#"{"name": "a", "cron": "* * * *", "spec": {"command": "x"}}"#, "/cron"),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "* * * * * *", "spec": {"command": "x"}}"#,
        "/cron",
    ),
    invalid(SCHEDULES, r#"{"name": "a", "cron": "60 * * * *", "spec": {"command": "x"}}"#, "/cron"),
    invalid(SCHEDULES, r#"{"name": "a", "cron": "@reboot", "spec": {"command": "x"}}"#, "/cron"),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "every minute", "spec": {"command": "x"}}"#,
        "/cron",
    ),
    invalid(SCHEDULES, r#"{"name": "a", "cron": "0 0 30 2 *", "spec": {"command": "x"}}"#, "/cron"),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "*/0 * * * *", "spec": {"command": "x"}}"#,
        "/cron",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "\u0000 * * * *", "spec": {"command": "x"}}"#,
        "/cron",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "\u001b[2J * * * *", "spec": {"command": "x"}}"#,
        "/cron",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1 * * * *", "spec": {"command": "x"}}"#,
        "/cron",
    ),
    invalid(SCHEDULES, r#"{"name": "a", "cron": 5, "spec": {"command": "x"}}"#, "/cron"),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": ["* * * * *"], "spec": {"command": "x"}}"#,
        "/cron",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "timeZone": "", "spec": {"command": "x"}}"#,
        "/timeZone",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "timeZone": "Mars/Olympus", "spec": {"command": "x"}}"#,
        "/timeZone",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "timeZone": "localtime", "spec": {"command": "x"}}"#,
        "/timeZone",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "timeZone": "Etc/Unknown", "spec": {"command": "x"}}"#,
        "/timeZone",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "timeZone": "../etc/passwd", "spec": {"command": "x"}}"#,
        "/timeZone",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "timeZone": "/etc/localtime", "spec": {"command": "x"}}"#,
        "/timeZone",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "timeZone": "Europe/Berlin\u0000", "spec": {"command": "x"}}"#,
        "/timeZone",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "timeZone": "+01:00", "spec": {"command": "x"}}"#,
        "/timeZone",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "timeZone": "EST5EDT,M3.2.0,M11.1.0", "spec": {"command": "x"}}"#,
        "/timeZone",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "timeZone": 7, "spec": {"command": "x"}}"#,
        "/timeZone",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "overlap": "wait", "spec": {"command": "x"}}"#,
        "/overlap",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "overlap": "Skip", "spec": {"command": "x"}}"#,
        "/overlap",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "overlap": null, "spec": {"command": "x"}}"#,
        "/overlap",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "overlap": true, "spec": {"command": "x"}}"#,
        "/overlap",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "catchUp": "soon", "spec": {"command": "x"}}"#,
        "/catchUp",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "catchUp": -1, "spec": {"command": "x"}}"#,
        "/catchUp",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "catchUp": "2years", "spec": {"command": "x"}}"#,
        "/catchUp",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "catchUp": null, "spec": {"command": "x"}}"#,
        "/catchUp",
    ),
    invalid(SCHEDULES, r#"{"name": "a", "cron": "@daily", "spec": "x"}"#, "/spec"),
    invalid(SCHEDULES, r#"{"name": "a", "cron": "@daily", "spec": ["x"]}"#, "/spec"),
    invalid(SCHEDULES, r#"{"name": "a", "cron": "@daily", "spec": {}}"#, "/spec/command"),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "spec": {"command": ""}}"#,
        "/spec/command",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "spec": {"command": "x", "priority": 2000}}"#,
        "/spec/priority",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "spec": {"command": "x", "gpu": 1}}"#,
        "/spec/gpu",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "spec": {"command": "x", "timeout": "25h"}}"#,
        "/spec/timeout",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "spec": {"command": "x", "notBefore": "2030-01-01T00:00:00Z"}}"#,
        "/spec/notBefore",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "spec": {"command": "x", "labels": {"schedule": "b"}}}"#,
        "/spec/labels/schedule",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "spec": {"command": "x", "secrets": {"A": "short"}}}"#,
        "/spec/secrets/A",
    ),
    invalid(
        SCHEDULES,
        r#"{"name": "a", "cron": "@daily", "paused": true, "spec": {"command": "x"}}"#,
        "/paused",
    ),
];

#[tokio::test]
async fn schedules() {
    check(ROWS).await;
}

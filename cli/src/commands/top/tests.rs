//! Pictures of some moments, and keys.

use jiff::Timestamp;
use orchestra_contracts::{Job, JobId, JobStatus};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers},
};
use serde_json::{Value, json};

use super::{
    picture::Picture,
    screen::{Order, Screen},
};

fn job(id: i64, status: JobStatus, more: &Value) -> Job {
    let mut job = json!({
        "id": id, "command": format!("make {id}"), "maxRetries": 0, "queue": "default",
        "status": status, "assignedWorker": null, "retryCount": 0, "attempt": null, "output": "",
        "error": "", "outputTruncated": false, "exitCode": null, "outcome": null, "reason": null,
        "usage": null, "createdAt": "2026-01-01T11:58:00Z", "startedAt": null, "finishedAt": null,
    });
    job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(job).unwrap()
}

fn picture(jobs: Vec<Job>) -> Picture {
    let worker = |name: &str, online: bool, running: &[i64]| {
        json!({
            "name": name, "online": online, "slots": 2, "queues": ["default"], "version": "1",
            "running": running, "registeredAt": "2026-01-01T00:00:00Z",
            "seenAt": "2026-01-01T12:00:00Z",
        })
    };
    let queue = json!({"name": "default", "paused": true, "concurrency": null, "pending": 7,
                       "running": 1, "workers": 1});
    Picture {
        at: "2026-01-01T12:00:00Z".parse::<Timestamp>().unwrap(),
        workers: serde_json::from_value(json!([
            worker("gone", false, &[]),
            worker("box", true, &[3])
        ]))
        .unwrap(),
        queues: vec![serde_json::from_value(queue).unwrap()],
        jobs,
    }
}

fn some() -> Vec<Job> {
    let running = json!({"assignedWorker": "box", "startedAt": "2026-01-01T11:59:57Z"});
    let failed = json!({"reason": "it exited with 2", "name": "nightly\u{1b}[2J"});
    vec![
        job(3, JobStatus::Running, &running),
        job(4, JobStatus::Pending, &json!({})),
        job(2, JobStatus::Failed, &failed),
    ]
}

fn screen() -> Screen {
    Screen::new("http://master:5216", picture(some()))
}

fn press(screen: &mut Screen, code: KeyCode) -> Option<Order> {
    screen.obey(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

#[test]
fn it_shows_what_runs_what_waits_and_what_has_ended() {
    let text = screen().text((120, 20));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "12:00:00  http://master:5216  1 running, 7 waiting, 1 queues paused; \
         1 of 2 workers online with 2 slots"
    );
    assert!(lines[1].starts_with("WORKER"));
    assert!(lines[2].starts_with("box ") && lines[2].contains("1/2"), "{text}");
    assert!(lines[3].starts_with("gone ") && lines[3].contains("away"), "{text}");
    let jobs: Vec<&&str> = lines.iter().skip(6).collect();
    assert!(jobs[0].starts_with("3 ") && jobs[0].contains("3.0s") && jobs[0].contains("make 3"));
    assert!(jobs[1].starts_with("4 ") && jobs[1].contains("Pending") && jobs[1].contains("2m"));
    assert!(
        jobs[2].contains("nightly\\u{1b}[2J") && jobs[2].contains("it exited with 2"),
        "{text}"
    );
}

#[test]
fn keys_act_on_the_job_that_is_selected_and_it_is_followed() {
    let mut screen = screen();
    assert_eq!(press(&mut screen, KeyCode::Char('c')), Some(Order::Cancel(JobId(3))));
    assert_eq!(press(&mut screen, KeyCode::Down), None);
    assert_eq!(press(&mut screen, KeyCode::Down), None);
    // Not further than the last.
    assert_eq!(press(&mut screen, KeyCode::Down), None);
    assert_eq!(press(&mut screen, KeyCode::Char('r')), Some(Order::Retry(JobId(2))));
    let newer = job(9, JobStatus::Running, &json!({}));
    screen.show(picture([vec![newer.clone()], some()].concat()));
    assert_eq!(press(&mut screen, KeyCode::Char('r')), Some(Order::Retry(JobId(2))));
    // When it has gone, whatever stands there now.
    screen.show(picture(vec![newer]));
    assert_eq!(press(&mut screen, KeyCode::Char('c')), Some(Order::Cancel(JobId(9))));
    screen.show(picture(Vec::new()));
    assert_eq!(press(&mut screen, KeyCode::Char('c')), None);
    assert_eq!(press(&mut screen, KeyCode::Enter), None);
    assert_eq!(press(&mut screen, KeyCode::Char('q')), Some(Order::Leave));
}

#[test]
fn a_log_opens_follows_the_selection_and_closes() {
    let mut screen = screen();
    assert_eq!(press(&mut screen, KeyCode::Enter), Some(Order::Look));
    assert_eq!(screen.reads(), Some(JobId(3)));
    let lines: Vec<String> = (1..=50).map(|line| format!("line {line}\u{1b}[31m")).collect();
    screen.show_log(lines.join("\n"));
    let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let shown = terminal.backend().to_string();
    assert!(shown.contains(" log of job 3 "), "{shown}");
    assert!(shown.contains("line 50\\u{1b}[31m") && !shown.contains("line 1\\u"), "{shown}");
    // Another job's log has to be fetched.
    assert_eq!(press(&mut screen, KeyCode::Down), Some(Order::Look));
    assert_eq!(screen.reads(), Some(JobId(4)));
    assert_eq!(press(&mut screen, KeyCode::Esc), None);
    assert_eq!(screen.reads(), None);
    assert_eq!(press(&mut screen, KeyCode::Esc), Some(Order::Leave));
}

#[test]
fn what_the_master_said_stays_until_the_next_key() {
    let mut screen = screen();
    screen.say("job 3 has ended already\u{7}".to_owned());
    let mut terminal = Terminal::new(TestBackend::new(100, 20)).unwrap();
    let mut foot = |screen: &mut Screen| {
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string().lines().last().unwrap().to_owned()
    };
    assert!(foot(&mut screen).contains("job 3 has ended already\\u{7}"));
    press(&mut screen, KeyCode::Down);
    assert!(foot(&mut screen).contains("q quit"));
}

#[test]
fn no_size_is_too_small() {
    for size in [(1, 1), (3, 2), (20, 5), (300, 100)] {
        let _ = screen().text(size);
        let mut screen = screen();
        press(&mut screen, KeyCode::Enter);
        screen.show_log("a\nb\n".to_owned());
        let _ = screen.text(size);
    }
}

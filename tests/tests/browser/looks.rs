//! How every page looks: on a wide screen and a phone, light and dark, and by keyboard.

use orchestra_contracts::frame::Stream;
use orchestra_tests::Stack;
use serde_json::json;

use crate::{
    chromium::{Browser, DESKTOP, PHONE},
    reading::{append, held, report},
};

pub(crate) const PAGES: [(&str, &str); 13] = [
    ("overview", "/"),
    ("jobs", "/jobs"),
    ("jobs-none", "/jobs?q=nothing-is-like-this"),
    ("job", "/jobs/1"),
    ("job-waiting", "/jobs/2"),
    ("new", "/new?from=2"),
    ("queues", "/queues"),
    ("workers", "/workers"),
    ("schedules", "/schedules"),
    ("images", "/images"),
    ("webhooks", "/webhooks"),
    ("webhook", "/webhooks/1"),
    ("docs", "/docs"),
];

/// A master with some of everything, including long names.
pub(crate) async fn furnished() -> Stack {
    let stack = held(&json!({
        "command": "set -e\ncmake -B build -G Ninja\nninja -C build\nctest --output-on-failure",
        "name": "nightly build", "labels": {"team": "core", "branch": "main"}, "maxRetries": 2,
    }))
    .await;
    let api = &stack.api;
    let webhook = json!({"url": "https://receiver.invalid/a/path/of/some/length?team=core&branch=main", "labels": {"kind": "step"}});
    let _ = api.post("/api/webhook", &webhook).await.expect(201);
    let output = "-- Configuring done\n[1/3] Building CXX object main.o\n\x1b[1;35mwarning:\x1b[0m unused variable 'x'\n\x1b[32m[3/3]\x1b[0m Linking\n";
    append(
        api,
        0,
        &[
            (Stream::System, "image gcc is at hand\n"),
            (Stream::Stdout, output),
            (Stream::Stderr, "make: *** no rule\n"),
        ],
    )
    .await;
    let long = "averylongnamewithoutanyplacetobreakit".repeat(3);
    api.submit(&json!({
        "command": format!("./{long} --with={long}\necho done"), "queue": "batch", "image": "python",
        "env": {"MODE": "release", "PATH_LIST": long}, "timeout": "10m", "lease": "5m",
        "resources": {"memory": "1g", "cpus": 2}, "labels": {"a-label-of-some-length": long[..60].to_owned()},
    }))
    .await;
    for n in 0..30 {
        api.submit(&json!({"command": format!("echo {n}"), "name": format!("step {n}"), "labels": {"kind": "step"}})).await;
    }
    for id in 3..6 {
        let _ = api.post(&format!("/api/job/{id}/cancel"), &json!(null)).await.expect(200);
    }
    for (worker, more) in [
        (
            "box-1",
            json!({"offer": {"cpus": 4, "memory": "8g", "pids": 512, "tmp": "1g", "images": ["gcc", "node", "python"]}, "labels": {"gpu": "yes"}}),
        ),
        ("a-worker-with-quite-a-long-name.example.internal", json!({})),
    ] {
        let mut registration = json!({"slots": 4, "queues": ["default", "batch"], "version": "0.1.0", "host": "host", "engine": "Docker 20.10"});
        registration
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        let put =
            api.request(reqwest::Method::PUT, &format!("/api/worker/{worker}")).json(&registration);
        let _ = api.send(put).await.expect(200);
    }
    let stats = json!({
        "engine": {"create a container": {"count": 1204, "failed": 2, "totalMs": 98_000}},
        "pool": {"ready": 2, "hits": 1150, "misses": 54},
        "images": [
            {"name": "gcc", "built": true, "size": "231m", "lastUsed": "2026-01-02T03:04:05Z", "ready": 2},
            {"name": "python", "built": false},
        ],
        "checks": [
            {"name": "engine", "ok": true, "detail": "Docker Engine 28.0.1 at unix:///var/run/docker.sock"},
            {"name": "worker-files", "ok": false, "detail": "/srv/worker-files belongs to user 1001, and jobs run as user 1000",
                "fix": "sudo chown 1000:1000 /srv/worker-files"},
        ],
    });
    let _ = api
        .post("/api/worker/box-1/heartbeat", &json!({"leases": [], "stats": stats}))
        .await
        .expect(200);
    let pause = api
        .request(reqwest::Method::PATCH, "/api/queue/batch")
        .json(&json!({"paused": true, "concurrency": 3}));
    let _ = api.send(pause).await.expect(200);
    for id in 6..12 {
        let _ = api.post("/api/job/claim", &json!("me")).await.expect(200);
        let status = if id % 3 == 0 { "Failed" } else { "Completed" };
        report(api, id, json!({"status": status})).await;
    }
    let schedule = json!({"name": "nightly", "cron": "30 3 * * mon-fri", "timeZone": "Europe/Berlin", "spec": {"command": "./backup.sh --all"}});
    let _ = api.post("/api/schedule", &schedule).await.expect(201);
    stack
}

#[tokio::test]
async fn no_page_is_wider_than_a_phone_and_every_one_is_dark_for_who_wants_it() {
    let stack = furnished().await;
    let Some(browser) = Browser::start(&stack.api.url("")).await else { return };
    let mut wrong = Vec::new();
    for (size, scheme, name) in
        [(DESKTOP, "light", "wide"), (PHONE, "dark", "phone"), (DESKTOP, "dark", "dark")]
    {
        browser.screen(size).await;
        browser.scheme(scheme).await;
        for (page, path) in PAGES {
            browser.open(path).await;
            browser.element("h1").await;
            if page == "job" {
                browser.says("#log-lines", "no rule").await;
            }
            let fits = "return document.documentElement.scrollWidth <= innerWidth";
            if browser.ask(fits).await != true {
                let wide = "return [...document.querySelectorAll('body *')].filter((it) => it.getBoundingClientRect().right > innerWidth + 1).map((it) => `${it.tagName}.${it.className}#${it.id}`).slice(0, 8).join(' ')";
                wrong.push(format!("{path} is too wide on {size:?}: {}", browser.ask(wide).await));
            }
            let light = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((it) => it > 127)";
            if browser.ask(light).await != (scheme == "light") {
                wrong.push(format!("{path} is not {scheme}"));
            }
            browser.picture(&format!("{page}-{name}")).await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    browser.close().await;
    stack.stop().await;
}

#[tokio::test]
async fn the_keyboard_gets_everywhere_and_shows_where_it_is() {
    let stack = furnished().await;
    let Some(browser) = Browser::start(&stack.api.url("")).await else { return };
    for (_, path) in PAGES {
        browser.open(path).await;
        // If a field has the focus at first, everything else comes after it in tab order.
        let has_field = browser.ask("return document.querySelector('[autofocus]') !== null").await;
        if has_field == true {
            browser.ask("document.querySelector('.skip').focus()").await;
        }
        let mut seen = Vec::new();
        for _ in 0..12 {
            browser.tab().await;
            let at = "const it = document.activeElement; const style = getComputedStyle(it); return [it.tagName, it.innerText?.trim() ?? '', style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]";
            let at = browser.ask(at).await;
            // The focus has left the page.
            if at[0] == "BODY" {
                break;
            }
            assert_eq!(at[2], true, "{path}: the focus on {at} is invisible");
            seen.push(at[1].as_str().unwrap_or_default().to_owned());
        }
        if has_field == false {
            assert_eq!(seen[0], "Skip to content", "{path}: {seen:?}");
        }
        assert!(seen.iter().any(|text| text == "Jobs"), "{path}: {seen:?}");
    }
    // By keyboard alone: from the list to a job, and back up to its heading.
    browser.open("/jobs").await;
    browser.ask("document.querySelector('.rows .main a').focus()").await;
    browser.press("Enter").await;
    browser.says("h1", "step 29").await;
    browser.close().await;
    stack.stop().await;
}

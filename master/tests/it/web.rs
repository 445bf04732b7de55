//! The web pages: what they show, to whom, and what they protect against. `choosing` covers the form of
//! the list of jobs, `sign_in` signing in, `told` the pages of workers and webhooks.

mod choosing;
mod sign_in;
mod told;

use axum::body::Body;
use orchestra_contracts::{Span, Token};
use serde_json::{Value, json};

use crate::harness::{Master, Reply, out, request};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");
const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

/// All pages with content, on a master that has job 1.
const PAGES: [&str; 12] = [
    "/",
    "/jobs",
    "/jobs/1",
    "/new",
    "/new?from=1",
    "/queues",
    "/workers",
    "/schedules",
    "/images",
    "/webhooks",
    "/webhooks/1",
    "/docs",
];

async fn ask(
    master: &Master,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut request = request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    master.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

/// A request with the cookie of a signed-in browser.
async fn look(master: &Master, token: &Token, path: &str) -> Reply {
    let cookie = format!("orchestra={}", token.as_str());
    ask(master, "GET", path, &[("cookie", &cookie), OWN, HTML], "").await
}

async fn register(master: &Master, worker: &str, more: Value) {
    let mut registration = json!({"slots": 2, "queues": ["default"], "version": "1"});
    registration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let reply = master.send_json("PUT", &format!("/api/worker/{worker}"), &registration).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

async fn add_webhook(master: &Master) {
    let webhook = json!({"url": "https://receiver.example/<b>?a=\"b\"", "on": ["Cancelled"]});
    let reply = master.post("/api/webhook", webhook).await;
    assert_eq!(reply.status, 201, "{reply:?}");
}

/// Checks that this is a complete page with the policy, and holds nothing that the policy would block.
#[track_caller]
fn page(reply: &Reply, what: &str) -> String {
    assert_eq!(reply.status, 200, "{what}: {reply:?}");
    html(reply, what)
}

#[track_caller]
fn html(reply: &Reply, what: &str) -> String {
    assert_eq!(reply.header("content-type"), "text/html; charset=utf-8", "{what}");
    assert_eq!(reply.header("content-security-policy"), POLICY, "{what}");
    assert_eq!(reply.header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(reply.header("cache-control"), "no-store", "{what}");
    let text = reply.text();
    assert!(text.starts_with("<!DOCTYPE html>") && text.ends_with("</html>"), "{what}");
    assert!(!text.contains("<style") && !text.contains(" style="), "{what}: a style in the page");
    assert!(!text.contains(" onclick") && !text.contains("javascript:"), "{what}");
    for rest in text.split("<script").skip(1) {
        let (tag, inside) = rest.split_once('>').unwrap();
        assert!(tag.contains("src=\"/assets/"), "{what}: {tag}");
        assert!(inside.starts_with("</script>"), "{what}: a script in the page");
    }
    text
}

#[tokio::test]
async fn every_page_is_there_and_keeps_to_the_policy() {
    let master = Master::start().await;
    for path in PAGES.iter().filter(|path| !path.contains('1')) {
        page(&master.get(path).await, path);
    }
    register(&master, "w", json!({})).await;
    add_webhook(&master).await;
    master.running(json!({"command": "true"})).await;
    for path in PAGES {
        page(&master.get(path).await, path);
    }
    assert_eq!(ask(&master, "HEAD", "/jobs", &[], "").await.status, 200);
}

#[tokio::test]
async fn what_pages_are_made_of_may_be_kept_and_is_what_it_says() {
    let master = Master::start().await;
    let home = page(&master.get("/").await, "home");
    let mut seen = 0;
    for rest in home.split("=\"/assets/").skip(1) {
        let path = format!("/assets/{}", rest.split('"').next().unwrap());
        let reply = master.get(&path).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("cache-control"), "public, max-age=31536000, immutable");
        let kind = reply.header("content-type");
        let wanted = match path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(kind, wanted, "{path}");
        seen += 1;
    }
    assert!(seen >= 3, "{home}");
    for path in ["/assets/0000000000000000/page.js", "/assets/x/../../etc/passwd"] {
        assert_eq!(master.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn hostile_names_commands_and_labels_are_text() {
    let master = Master::start().await;
    let evil = "</pre><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}gpj";
    let spec = json!({
        "command": evil, "name": evil, "env": {"A": evil}, "stdin": evil,
        "labels": {"team": "a'b"}, "queue": "q",
    });
    let reply = master.post("/api/job", spec.clone()).await;
    let spec = if reply.status == 201 {
        spec
    } else {
        // Names and labels allow fewer characters than commands.
        let plain =
            json!({"command": evil, "env": {"A": evil}, "stdin": evil, "name": "<b>\u{202e}x"});
        assert_eq!(master.post("/api/job", plain.clone()).await.status, 201, "{reply:?}");
        plain
    };
    assert!(spec["command"].as_str().unwrap().contains("script"));
    let worker = json!({"host": evil, "engine": evil});
    register(&master, "w", worker).await;
    let stats = json!({
        "pool": {"ready": 1, "hits": 2, "misses": 1},
        "engine": {evil: {"count": 1, "failed": 0, "totalMs": 5}},
        "images": [{"name": evil, "built": true}],
        "checks": [{"name": evil, "ok": false, "detail": evil, "fix": evil}],
    });
    let told = master.post("/api/worker/w/heartbeat", json!({"leases": [], "stats": stats})).await;
    assert_eq!(told.status, 200, "{told:?}");
    add_webhook(&master).await;
    let schedule = json!({"name": "s", "cron": "@daily", "spec": {"command": evil}});
    assert_eq!(master.post("/api/schedule", schedule).await.status, 201);
    for path in PAGES.into_iter().chain(["/jobs?q=%3Cscript%3E%22%3E&label=a%22%3E=b"]) {
        let text = page(&master.get(path).await, path);
        assert!(!text.contains("<img src=x") && !text.contains("<b>"), "{path}");
        // Only the form's field shows a command unchanged.
        if !path.starts_with("/new") {
            assert!(!text.contains('\u{202e}'), "{path}: it changes the direction of text");
        }
    }
    assert!(
        page(&master.get("/jobs/1").await, "job").contains("<span class=\"mark\">U+202E</span>")
    );
}

#[tokio::test]
async fn a_refusal_is_a_page_for_people_and_a_problem_for_programs() {
    let master = Master::start().await;
    for (path, status) in [
        ("/jobs/99", 404),
        ("/jobs/x", 400),
        ("/nowhere", 404),
        ("/jobs?status=Odd", 400),
        ("/jobs?statsu=Failed", 400),
    ] {
        let reply = ask(&master, "GET", path, &[HTML], "").await;
        assert_eq!(reply.status.as_u16(), status, "{path}");
        html(&reply, path);
        assert!(!master.get(path).await.problem().is_empty(), "{path}");
    }
    let reply = ask(&master, "GET", "/api/job/99", &[HTML], "").await;
    assert_eq!(reply.problem(), "not-found", "the API answers JSON to every client");
    // A link from another site leads to a page with nothing but a link.
    let cross = [HTML, ("sec-fetch-site", "cross-site")];
    let reply = ask(&master, "GET", "/jobs?q=a", &cross, "").await;
    assert_eq!(reply.status, 403);
    assert!(html(&reply, "cross").contains("href=\"/jobs?q=a\""), "{reply:?}");
    let reply = ask(&master, "GET", "//evil.example", &cross, "").await;
    assert!(!reply.text().contains("href=\"//evil"), "{reply:?}");
}

#[tokio::test]
async fn a_job_is_offered_what_its_state_allows() {
    let master = Master::start().await;
    let id = master.submit(json!({"command": "true"})).await;
    let path = format!("/jobs/{id}");
    let offers = async |word: &str| page(&master.get(&path).await, word).contains(word);
    let (cancel, retry) = ("data-post=\"/api/job/1/cancel\"", "data-post=\"/api/job/1/retry\"");
    assert!(offers(cancel).await && !offers(retry).await);
    assert!(offers("no worker serves queue default").await, "why it waits");
    master.bare("POST", "/api/job/1/cancel").await;
    assert!(!offers(cancel).await && offers(retry).await && offers("data-final").await);
    assert!(offers("data-delete=\"/api/job/1\"").await && offers("/new?from=1").await);
}

#[tokio::test]
async fn a_job_shows_where_its_time_went_and_its_output_also_without_scripts() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "make <all>"})).await;
    let head = master.stored(&claimed, &[out("said <so>\n")], 0).await;
    master.clock.advance(Span::from_secs(5));
    let usage = json!({"cpuMs": 900, "peakMemory": 41_943_040, "wallMs": 4200, "imageMs": 10, "startMs": 200, "drainMs": 3});
    let end = json!({
        "status": "Completed", "exitCode": 0, "usage": usage,
        "log": {"offset": head.offset, "crc32": head.crc32},
    });
    let reply = master.report(&claimed, "w", end).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let text = page(&master.get("/jobs/1").await, "job");
    for word in ["queued", "image", "start", "run", "drain", "4.2 s", "40 MiB", "succeeded"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let noscript = text.split("<noscript>").nth(1).unwrap();
    assert!(noscript.contains("said &lt;so&gt;"), "{noscript}");
}

#[tokio::test]
async fn a_job_runs_again_with_all_that_it_said_but_its_secrets() {
    let master = Master::start().await;
    let spec = json!({
        "command": "\nmake test", "timeout": "10m", "env": {"A": "1", "LONG": "a\nb"},
        "lease": "3m", "secrets": {"TOKEN": "a-secret-value"},
    });
    let id = master.submit(spec).await;
    let text = page(&master.get(&format!("/new?from={id}")).await, "new");
    for word in [
        "\n\nmake test</textarea>",
        "value=\"10m\"",
        "A=1</textarea>",
        "&quot;lease&quot;: &quot;3m&quot;",
        "a\\nb",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("***") && !text.contains("a-secret-value"), "{text}");
    assert!(text.contains("Secrets are not copied"), "{text}");
}

#[tokio::test]
async fn a_list_of_ten_thousand_is_shown_page_by_page() {
    let master = Master::start().await;
    for round in 0..10 {
        let label = (round % 2).to_string();
        let jobs: Vec<_> =
            (0..1000).map(|_| json!({"command": "true", "labels": {"odd": label}})).collect();
        assert_eq!(master.post("/api/job", json!(jobs)).await.status, 201);
    }
    let reply = master.get("/jobs").await;
    let text = page(&reply, "jobs");
    assert!(text.len() < 64 << 10, "{}", text.len());
    assert_eq!(text.matches("href=\"/jobs/").count(), 50);
    assert!(text.contains("/jobs?cursor=9951") && text.contains("rel=\"next\""), "{text}");
    let text = page(&master.get("/jobs?cursor=9951").await, "second");
    assert!(text.contains("/jobs/9950\"") && !text.contains("/jobs/9951\""));
    let text =
        page(&master.get("/jobs?label=odd%3D0&order=oldest&limit=10&q=&queue=").await, "filtered");
    assert!(text.contains("/jobs/10\"") && text.contains("label=odd%3D0"), "{text}");
    assert!(text.contains("limit=10&amp;cursor=10\""), "{text}");
    let last = page(&master.get("/jobs?order=oldest&cursor=9990").await, "last");
    assert!(!last.contains("rel=\"next\"") && last.contains("First page"));
}

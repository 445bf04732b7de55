//! Logs: hostile output must not affect the page, and a long log must not overload the browser.

use std::fmt::Write;

use bytes::BytesMut;
use orchestra_contracts::frame::{Body, Frame, Stream};
use orchestra_tests::{Api, Plan, Stack};
use reqwest::Method;
use serde_json::json;

use crate::chromium::Browser;

/// A master with one job, claimed by this test acting as its worker.
pub(crate) async fn held(spec: &serde_json::Value) -> Stack {
    let stack = Plan::default().workers(0).start().await;
    let stack = stack.expect("a master alone needs no engine");
    stack.api.submit(spec).await;
    let _ = stack.api.post("/api/job/claim", &json!("me")).await.expect(200);
    report(&stack.api, 1, json!({"status": "Running"})).await;
    stack
}

/// Sends a report about the job as its worker.
pub(crate) async fn report(api: &Api, id: i64, more: serde_json::Value) {
    let mut report = json!({"id": id, "assignedWorker": "me"});
    report.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let _ = api.post("/api/job/update", &report).await.expect(200);
}

/// Appends output; returns the new end of the log.
pub(crate) async fn append(api: &Api, offset: u64, pieces: &[(Stream, &str)]) -> u64 {
    let mut frames = BytesMut::new();
    // Cut into pieces that fit into one frame.
    let cut = pieces.iter().flat_map(|(stream, text)| {
        text.as_bytes().chunks(60_000).map(move |piece| (*stream, piece.to_vec()))
    });
    for (index, (stream, bytes)) in cut.enumerate() {
        let body = Body::Bytes(stream, bytes.into());
        Frame { time: 1_767_323_045_000_000 + index as u64 * 1000, body }.encode(&mut frames);
    }
    let end = offset + frames.len() as u64;
    let path = format!("/api/job/1/attempts/1/log?offset={offset}&worker=me");
    let upload = api
        .request(Method::POST, &path)
        .header("content-type", "application/octet-stream")
        .body(frames.freeze());
    let _ = api.send(upload).await.expect(200);
    end
}

#[tokio::test]
async fn hostile_output_is_inert() {
    let evil =
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
    let stack = held(&json!({"command": evil, "name": format!("{evil}\u{202e}gpj")})).await;
    let Some(browser) = Browser::start(&stack.api.url("")).await else { return };
    let long = "x".repeat(300_000);
    let output = format!(
        "{evil}\n\x1b[31mred\x1b[0m plain\n\x1b]0;title\x07\x1b[2J\x1b[Hafter\n\
         a\u{202e}b\u{2066}c\n10%\r20%\rdone\n{long}\n\x1b[38;5;208;1mwide\x1b[0m \x1b]8;;never closed\n"
    );
    // The split is in the middle of an escape sequence.
    let (one, two) = output.split_at(output.find("[31m").unwrap());
    append(&stack.api, 0, &[(Stream::Stdout, one), (Stream::Stdout, two), (Stream::Stderr, evil)])
        .await;
    browser.open("/jobs/1").await;
    let text = browser.says("#log-lines", "never closed").await;
    browser.says("#log-lines .stderr", "<script>").await;
    for word in [
        evil,
        "red plain",
        "\nafter\n",
        "aU+202Eb",
        "U+2066c",
        "\ndone\n",
        "U+001B]8;;never closed",
    ] {
        assert!(text.contains(word), "{word:?} is not in {}", &text[..2000.min(text.len())]);
    }
    assert!(!text.contains("[31m") && !text.contains("10%"), "{text}");
    assert!(text.len() < 10_000, "a very long line is cut");
    assert!(text.contains("more characters"), "and says so");
    for script in [
        "return document.title !== 'owned'",
        "return document.querySelectorAll('main img, main script').length === 0",
        "return document.querySelector('.fg1').textContent === 'red'",
        "return getComputedStyle([...document.querySelectorAll('.bold')].at(-1)).color === 'rgb(255, 135, 0)'",
        "return [...document.querySelectorAll('h1, .command, #log-lines')].every((it) => !/[\\u202a-\\u202e\\u2066-\\u2069]/.test(it.textContent))",
    ] {
        assert_eq!(browser.ask(script).await, true, "{script}");
    }
    browser.picture("hostile").await;
    browser.close().await;
    stack.stop().await;
}

#[tokio::test]
async fn a_long_log_opens_at_its_tail_and_holds_a_bounded_number_of_lines() {
    let stack = held(&json!({"command": "seq 20000", "name": "long"})).await;
    let Some(browser) = Browser::start(&stack.api.url("")).await else { return };
    let mut offset = 0;
    for block in 0..20 {
        let mut text = String::new();
        (1..=1000).for_each(|n| writeln!(text, "line {}", block * 1000 + n).unwrap());
        offset = append(&stack.api, offset, &[(Stream::Stdout, &text)]).await;
    }
    browser.open("/jobs/1").await;
    browser.says("#log-lines", "line 20000").await;
    let first = "return document.querySelector('.line bdi').textContent";
    let count = "return document.querySelectorAll('.line').length";
    assert_eq!(browser.ask(first).await, "line 19001");
    assert_eq!(browser.ask(count).await, 1000);
    let at_end = "const it = document.getElementById('log-lines'); return it.scrollHeight - it.scrollTop - it.clientHeight < 40";
    browser.holds(at_end).await;

    // Each step back adds the preceding lines, without gaps or repeats.
    for top in [18001, 17001, 16001, 15001, 14001] {
        browser.click("#log-earlier").await;
        browser.holds(&format!("{first} === 'line {top}'")).await;
        let whole = "const all = [...document.querySelectorAll('.line bdi')].map((it) => Number(it.textContent.slice(5))); return all.every((n, at) => n === all[0] + at)";
        assert_eq!(browser.ask(whole).await, true, "before {top}");
    }
    assert_eq!(browser.ask(count).await, 5000, "lines at the other end were removed");
    let follow = "return document.getElementById('log-follow').getAttribute('aria-pressed')";
    assert_eq!(browser.ask(follow).await, "false");

    browser.click("#log-follow").await;
    browser.says("#log-lines", "line 20000").await;
    offset = append(&stack.api, offset, &[(Stream::Stderr, "and one more\n")]).await;
    browser.says("#log-lines", "and one more").await;
    browser.write("#log-search", "LINE 1999").await;
    browser.says("#log-found", "10 lines").await;
    browser.click("#log-next").await;
    browser.says("#log-found", "10 of 10").await;
    browser.click("#log-times").await;
    browser.picture("log").await;
    browser.click("#log-stream option[value=stderr]").await;
    browser.holds("return document.querySelectorAll('.line').length === 1").await;

    // A flood is rendered at a readable pace and does not build up.
    browser.click("#log-stream option[value=all]").await;
    browser.says("#log-lines", "and one more").await;
    for _ in 0..10 {
        offset = append(&stack.api, offset, &[(Stream::Stdout, &"flood\n".repeat(10_000))]).await;
    }
    append(&stack.api, offset, &[(Stream::Stdout, "the end\n")]).await;
    browser.says("#log-lines", "the end").await;
    browser.holds("return document.querySelectorAll('.line').length <= 5000").await;
    browser.close().await;
    stack.stop().await;
}

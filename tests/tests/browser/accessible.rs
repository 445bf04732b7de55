//! The machine-checkable part of accessibility: axe-core's rules on each page, light and dark, and on
//! a phone.

use std::{env, fs, path::PathBuf};

use orchestra_tests::{Plan, say, skip};
use serde_json::Value;

use crate::{
    chromium::{Browser, DESKTOP, PHONE},
    looks::{PAGES, furnished},
};

/// The rules of WCAG 2.2 at levels A and AA, and axe-core's best practices.
const RULES: &str = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']";

/// The source of axe-core. Returns `None`, and prints one line that says why, where it is missing.
fn axe() -> Option<String> {
    let path = env::var_os("ORCHESTRA_AXE").map(PathBuf::from);
    let program = path.and_then(|path| fs::read_to_string(path).ok());
    if program.is_none() {
        skip("accessible", "ORCHESTRA_AXE is not the path of an axe.min.js; .ci/run gets one");
    }
    program
}

/// The violations on the current page, and the number of rules that applied.
async fn judged(browser: &Browser, axe: &str, what: &str) -> (Vec<String>, usize) {
    browser.teach(axe).await;
    let look = format!(
        "return axe.run(document, {{runOnly: {RULES}, resultTypes: ['violations']}}).then((it) => \
         [it.violations.map((wrong) => `${{wrong.id}}: ${{wrong.nodes.slice(0, 4).map((node) => \
         `${{node.target}} (${{node.failureSummary}})`).join(', ')}}`), it.passes.length])"
    );
    let answer = browser.ask(&look).await;
    let wrong = answer[0].as_array().expect("a list").iter();
    let wrong = wrong.map(|it| format!("{what}: {}", it.as_str().unwrap_or_default())).collect();
    (wrong, answer[1].as_u64().map_or(0, |count| count as usize))
}

#[tokio::test]
async fn no_page_breaks_a_rule_that_a_program_can_check() {
    let Some(axe) = axe() else { return };
    let stack = furnished().await;
    let Some(browser) = Browser::start(&stack.api.url("")).await else { return };
    let (mut wrong, mut held) = (Vec::new(), 0);
    for (size, scheme) in [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "dark")] {
        browser.screen(size).await;
        browser.scheme(scheme).await;
        for (name, path) in PAGES {
            browser.open(path).await;
            browser.element("h1").await;
            if name == "job" {
                browser.says("#log-lines", "no rule").await;
            }
            // Folded content must be accessible as well.
            browser
                .ask("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
                .await;
            let what = format!("{name}, {scheme}, {} wide", size.0);
            let (more, rules) = judged(&browser, &axe, &what).await;
            assert!(rules > 10, "{what}: only {rules} rules applied");
            wrong.extend(more);
            held += rules;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    say(&format!("{held} rules held on {} pages", 3 * PAGES.len()));
    browser.close().await;
    stack.stop().await;
}

#[tokio::test]
async fn the_door_and_what_is_not_there_break_none_either() {
    let Some(axe) = axe() else { return };
    let stack = Plan::default().workers(0).with_tokens().start().await;
    let stack = stack.expect("a master alone needs no engine");
    let Some(browser) = Browser::start(&stack.api.url("")).await else { return };
    for scheme in ["light", "dark"] {
        browser.scheme(scheme).await;
        browser.open("/").await;
        let (wrong, _) = judged(&browser, &axe, "the door").await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    let token =
        fs::read_to_string(stack.token_file("client")).expect("the master makes the token file");
    browser.write("#token", token.trim()).await;
    browser.click("form button").await;
    browser.says("h1", "Overview").await;
    // An empty master, and a page that a client may not see.
    for (path, status) in
        [("/", ""), ("/jobs", ""), ("/workers", ""), ("/jobs/9", "404"), ("/webhooks", "403")]
    {
        browser.open(path).await;
        browser.element("h1").await;
        let (wrong, _) = judged(&browser, &axe, path).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let complaints: Vec<Value> =
            browser.complaints().await.into_iter().map(Value::from).collect();
        assert!(
            complaints.iter().all(|line| !status.is_empty() && line.to_string().contains(status)),
            "{complaints:?}"
        );
    }
    browser.close().await;
    stack.stop().await;
}

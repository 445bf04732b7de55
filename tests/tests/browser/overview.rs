//! The plots of the last hour, which refresh without a reload of the page.

use orchestra_contracts::JobStatus;
use orchestra_tests::{Api, wait};
use serde_json::json;

use crate::{
    chromium::Browser,
    reading::{held, report},
};

async fn end(api: &Api, id: i64, status: JobStatus) {
    report(api, id, json!({"status": status})).await;
}

#[tokio::test]
async fn the_last_hour_is_drawn_while_it_happens() {
    let stack = held(&json!({"command": "true"})).await;
    let Some(browser) = Browser::start(&stack.api.url("")).await else { return };
    browser.open("/").await;
    // The job is assigned and has not ended.
    let text = browser.says("#plots", "half started within").await;
    assert!(text.contains("No run has ended") && text.contains("Counted since"), "{text}");
    end(&stack.api, 1, JobStatus::Completed).await;
    browser.says("#plots", "1 completed").await;
    let bars = "return [...document.querySelectorAll('#plots rect')].map((it) => it.getBoundingClientRect().height)";
    let bars = browser.ask(bars).await;
    assert!(bars[0].as_f64().is_some_and(|height| height > 50.0), "{bars}");

    // An opened table stays open through refreshes, and shows the plotted numbers.
    browser.click("#plots details summary").await;
    browser.says("#plots details", "completed").await;
    stack.api.command("true").await;
    let _ = stack.api.post("/api/job/claim", &json!("me")).await.expect(200);
    end(&stack.api, 2, JobStatus::Failed).await;
    browser.says("#plots", "1 failed").await;
    browser.holds("return document.querySelector('#plots details').open").await;
    wait::until("both in the table", wait::SOON, async || {
        let cells = "return [...document.querySelectorAll('#plots figure:first-of-type tbody td.what')].map((it) => Number(it.textContent)).reduce((a, b) => a + b)";
        (browser.ask(cells).await == 2).then_some(())
    })
    .await;
    let told = "return [...document.querySelectorAll('#plots svg')].map((it) => [it.getAttribute('aria-labelledby'), it.getAttribute('aria-describedby')]).flat().every((id) => document.getElementById(id)?.textContent)";
    assert_eq!(browser.ask(told).await, true, "each drawing has a name and a description");
    browser.close().await;
    stack.stop().await;
}

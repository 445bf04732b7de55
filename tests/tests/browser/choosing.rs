//! Actions on several jobs, and redelivery of webhook messages: ticks survive a refresh of the list,
//! and buttons do what they say.

use orchestra_contracts::{JobId, JobStatus};
use orchestra_tests::{Plan, wait};
use serde_json::{Value, json};

use crate::chromium::Browser;

#[tokio::test]
async fn those_that_are_ticked_are_cancelled_and_run_again() {
    let stack = Plan::default().workers(0).start().await.expect("a master alone needs no engine");
    let Some(browser) = Browser::start(&stack.api.url("")).await else { return };
    for n in 1..=4 {
        stack.api.submit(&json!({"command": "true", "name": format!("job {n}")})).await;
    }
    browser.open("/jobs").await;
    browser.holds("return document.querySelector('.bulk button').disabled").await;
    browser.click("input[value='2']").await;
    browser.click("input[value='3']").await;
    browser.says("[data-chosen]", "2 selected").await;
    // The list is refreshed with a job that was submitted meanwhile.
    stack.api.submit(&json!({"command": "true", "name": "job 5"})).await;
    browser.says("#list", "job 5").await;
    browser.says("[data-chosen]", "2 selected").await;
    browser.picture("choosing").await;
    browser.click(".bulk [value='cancel']").await;
    browser.holds("return document.querySelectorAll('.status.cancelled').length === 2").await;
    assert_eq!(browser.place().await, "/jobs");
    for (id, status) in [(1, "Pending"), (2, "Cancelled"), (3, "Cancelled"), (4, "Pending")] {
        assert_eq!(stack.api.job(JobId(id)).await.status.as_str(), status, "{id}");
    }

    browser.click("[data-choose-all] input").await;
    browser.says("[data-chosen]", "5 selected").await;
    browser.click(".bulk [value='retry']").await;
    browser.says("main", "2 of 5 jobs are run again").await;
    browser.picture("chosen-refused").await;
    browser.click("a.button.primary[href='/jobs']").await;
    browser.holds("return document.querySelectorAll('.status.pending').length === 5").await;
    browser.close().await;
    stack.stop().await;
}

#[tokio::test]
async fn a_message_is_sent_again_by_a_button() {
    let stack = Plan::default().workers(0).start().await.expect("a master alone needs no engine");
    let Some(browser) = Browser::start(&stack.api.url("")).await else { return };
    let webhook = json!({"url": "https://receiver.invalid/hook", "on": ["Cancelled"]});
    let _ = stack.api.post("/api/webhook", &webhook).await.expect(201);
    let id = stack.api.command("true").await.id;
    let _ = stack.api.post(&format!("/api/job/{id}/cancel"), &json!(null)).await.expect(200);
    assert_eq!(stack.api.job(id).await.status, JobStatus::Cancelled);
    browser.open("/webhooks").await;
    browser.click(".card h2 a").await;
    browser.says("#deliveries", "Cancelled").await;
    // Nobody listens, so the delivery fails and is retried, maybe before the page shows the first
    // try.
    let tried = "return Number(document.querySelector('[data-name=Tries]')?.innerText) >= 1";
    browser.holds(tried).await;
    let log = async || stack.api.get("/api/webhook/1/deliveries").await.expect(200);
    let first = log().await.json::<Value>()[0]["triedAt"].clone();
    browser.click("#deliveries [data-post$='/retry']").await;
    browser.says("#said", "Done").await;
    // A redelivery resets the count of tries; a retry would have counted as the second.
    wait::until("the message to be sent again", wait::SOON, async || {
        let delivery = log().await.json::<Value>()[0].clone();
        let is_again = delivery["triedAt"] != first && delivery["attempts"] == 1;
        is_again.then_some(())
    })
    .await;

    browser.click(".danger").await;
    browser.says(".danger", "Remove with its deliveries?").await;
    browser.click(".danger").await;
    browser.says("#webhooks", "No webhooks yet").await;
    browser.close().await;
    stack.stop().await;
}

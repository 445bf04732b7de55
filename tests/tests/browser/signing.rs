//! Where tokens are required: signing in and out.

use std::fs;

use orchestra_tests::Plan;
use serde_json::json;

use crate::chromium::Browser;

#[tokio::test]
async fn a_token_signs_in_and_the_way_goes_on_to_where_it_led() {
    let stack = Plan::default().workers(0).with_tokens().start().await;
    let stack = stack.expect("a master alone needs no engine");
    let Some(browser) = Browser::start(&stack.api.url("")).await else { return };
    stack.api.submit(&json!({"command": "true", "name": "behind the door"})).await;

    browser.open("/jobs/1").await;
    assert_eq!(browser.place().await, "/signin?next=%2Fjobs%2F1");
    browser.picture("signin").await;
    browser.write("#token", "orchestra_wrong").await;
    browser.click("form button").await;
    browser.says(".wrong", "not valid").await;
    let client =
        fs::read_to_string(stack.token_file("client")).expect("the master makes the token file");
    browser.write("#token", client.trim()).await;
    browser.click("form button").await;
    browser.says("h1", "behind the door").await;
    assert_eq!(browser.place().await, "/jobs/1");
    assert_eq!(browser.ask("return document.cookie").await, "", "no script sees the token");

    // The cookie authorises the page's requests and its event stream.
    browser.says("#log-state", "live").await;
    browser.click("#head [data-post$='/cancel']").await;
    browser.says("#head .standing", "Cancelled").await;
    browser.open("/queues").await;
    browser.says("main", "sign in with an admin token").await;
    browser.click("form[action='/signout'] button").await;
    browser.says("h1", "Sign in").await;
    browser.open("/").await;
    assert_eq!(browser.place().await, "/signin?next=%2F");
    // The only error in the browser's log is the refused token.
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("401")), "{complaints:#?}");
    browser.close().await;
    stack.stop().await;
}

//! Jobs that really run: submitted with the form, followed live, finished.

use orchestra_contracts::{JobId, JobStatus};
use orchestra_tests::{Plan, wait};

use crate::chromium::Browser;

#[tokio::test]
async fn a_job_of_the_form_is_watched_to_its_end() {
    let Some(stack) = Plan::default().start().await else { return };
    let Some(browser) = Browser::start(&stack.api.url("")).await else { return };
    browser.open("/new").await;
    let command = "for n in 1 2 3; do echo line $n; sleep 1; done; echo to the other >&2";
    browser.write("#command", command).await;
    browser.write("#name", "of the form").await;
    browser.says("#twin-cli", "orchestra submit --name 'of the form'").await;
    browser.says("#twin-curl", "-d '{ \"command\": \"for n in 1 2 3;").await;
    browser.click("#new button.primary").await;
    browser.says("h1", "of the form").await;
    assert_eq!(browser.place().await, "/jobs/1");

    // While it runs, without a reload of the page.
    browser.says("#log-lines", "line 1").await;
    let lines = browser.says("#log-lines", "to the other").await;
    assert!(lines.contains("line 1\nline 2\nline 3"), "{lines}");
    browser.says("#log-state", "ended").await;
    browser.says("#head .standing", "Completed").await;
    browser.says("#phases", "run").await;
    browser.holds("return document.querySelectorAll('.line.stderr').length === 1").await;
    let kept = stack.api.job(JobId(1)).await;
    assert_eq!(kept.spec.command, command);

    // Run again with another command: the form is filled from the job.
    browser.click("#head .actions a").await;
    browser.holds("return document.querySelector('#name')?.value === 'of the form'").await;
    let to_the_end = "const it = document.querySelector('#command'); it.focus(); it.setSelectionRange(it.value.length, it.value.length)";
    browser.ask(to_the_end).await;
    browser.write("#command", "\nexit 3").await;
    browser.click("#new button.primary").await;
    browser.says("#head .standing", "exited with code 3").await;
    browser.close().await;
    stack.stop().await;
}

#[tokio::test]
async fn a_running_job_is_cancelled_by_a_button() {
    let Some(stack) = Plan::default().start().await else { return };
    let Some(browser) = Browser::start(&stack.api.url("")).await else { return };
    let id = stack.api.command("echo it runs; sleep 600").await.id;
    browser.open(&format!("/jobs/{id}")).await;
    browser.says("#log-lines", "it runs").await;
    browser.click("#head [data-post$='/cancel']").await;
    browser.says("#head .standing", "Cancelled").await;
    let job = stack.api.job(id).await;
    assert_eq!(job.status, JobStatus::Cancelled);

    // Deleting needs a second click.
    browser.click("#head .danger").await;
    browser.says("#head .danger", "permanently").await;
    browser.click("#head .danger").await;
    wait::until("the list", wait::SOON, async || (browser.place().await == "/jobs").then_some(()))
        .await;
    browser.says("#list", "No jobs yet").await;
    browser.close().await;
    stack.stop().await;
}

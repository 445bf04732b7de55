//! Actions on several jobs through the form of the list.

use orchestra_contracts::Role;
use serde_json::json;

use super::{HTML, OWN, ask, page};
use crate::{
    access::issue,
    harness::{Master, Reply},
};

/// Sends the list's form as a browser without scripts does.
async fn choose(master: &Master, verb: &str, jobs: &[i64], headers: &[(&str, &str)]) -> Reply {
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let jobs = jobs.iter().map(|id| format!("&job={id}")).collect::<Vec<_>>().concat();
    let body = format!("back=%2Fjobs%3Fstatus%3DPending&verb={verb}{jobs}");
    ask(master, "POST", "/jobs", &[&[kind, HTML], headers].concat(), &body).await
}

#[tokio::test]
async fn many_jobs_are_cancelled_and_run_again_without_a_script() {
    let master = Master::start().await;
    for _ in 0..4 {
        master.submit(json!({"command": "true"})).await;
    }
    let text = page(&master.get("/jobs?status=Pending&limit=3").await, "jobs");
    assert!(text.contains("<form class=\"list\" method=\"post\" action=\"/jobs\">"), "{text}");
    assert_eq!(text.matches("type=\"checkbox\" name=\"job\"").count(), 3);
    assert!(text.contains("name=\"back\" value=\"/jobs?status=Pending&amp;limit=3\""), "{text}");
    assert!(
        !page(&master.get("/").await, "home").contains("name=\"job\""),
        "only where there is a form"
    );

    let status = async |id| master.job(id).await["status"].clone();
    let reply = choose(&master, "cancel", &[1, 3], &[OWN]).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/jobs?status=Pending"));
    for (id, expected) in [(1, "Cancelled"), (2, "Pending"), (3, "Cancelled"), (4, "Pending")] {
        assert_eq!(status(id).await, expected, "{id}");
    }
    // An impossible action is reported, and does not prevent the others.
    let reply = choose(&master, "retry", &[2, 3, 99, 1], &[OWN]).await;
    let text = page(&reply, "what became of them");
    assert!(text.contains("2 of 4 jobs are run again"), "{text}");
    assert!(text.contains("href=\"/jobs/2\"") && text.contains("href=\"/jobs/99\""), "{text}");
    assert!(text.contains("href=\"/jobs?status=Pending\""), "{text}");
    assert_eq!((status(1).await, status(3).await), (json!("Pending"), json!("Pending")));
    let text = page(&choose(&master, "cancel", &[], &[OWN]).await, "none");
    assert!(text.contains("No jobs were selected"), "{text}");
}

#[tokio::test]
async fn no_other_page_cancels_jobs_by_the_form() {
    let master = Master::with_tokens().await;
    let client = issue(&master, Role::Client, None).await.token;
    let worker = issue(&master, Role::Worker, None).await.token;
    let cookie = format!("orchestra={}", client.as_str());
    let (host, cookie) = (("host", "a.example"), ("cookie", cookie.as_str()));
    let json = [host, cookie, OWN, ("content-type", "application/json")];
    let submitted = ask(&master, "POST", "/api/job", &json, "{\"command\": \"true\"}").await;
    assert_eq!(submitted.status, 201);
    for (headers, status) in [
        (&[("sec-fetch-site", "cross-site")][..], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("origin", "http://evil.example")], 403),
        (&[("origin", "null")], 403),
        // A request without such headers could come from any site's form.
        (&[], 415),
    ] {
        let all = [&[host, cookie][..], headers].concat();
        let reply = choose(&master, "cancel", &[1], &all).await;
        assert_eq!(reply.status.as_u16(), status, "{headers:?}: {reply:?}");
    }
    let nobody = choose(&master, "cancel", &[1], &[host, OWN]).await;
    assert_eq!(nobody.status, 303);
    assert!(nobody.header("location").starts_with("/signin"), "{nobody:?}");
    let bearer = format!("Bearer {}", worker.as_str());
    let of_worker = choose(&master, "cancel", &[1], &[host, OWN, ("authorization", &bearer)]).await;
    assert_eq!(of_worker.status, 403);
    let read = ask(&master, "GET", "/api/job/1", &[host, cookie], "").await;
    assert_eq!(read.json()["status"], "Pending", "nothing was done");
    let reply = choose(&master, "cancel", &[1], &[host, cookie, OWN]).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    let read = ask(&master, "GET", "/api/job/1", &[host, cookie], "").await;
    assert_eq!(read.json()["status"], "Cancelled");
}

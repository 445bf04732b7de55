//! Signing in: the cookie, who gets one, and what it permits.

use orchestra_contracts::Role;
use orchestra_master::http::{self, Rule};
use serde_json::json;

use super::{HTML, OWN, ask, html, look, page};
use crate::{
    access::issue,
    harness::{Master, Reply},
};

async fn sign_in(master: &Master, token: &str, next: &str, headers: &[(&str, &str)]) -> Reply {
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let body = format!("token={token}&next={next}");
    ask(master, "POST", "/signin", &[&[kind], headers].concat(), &body).await
}

#[tokio::test]
async fn who_has_no_token_is_led_to_the_sign_in() {
    let master = Master::with_tokens().await;
    for (method, path, rule) in http::pages() {
        let path = path.replace("{id}", "1");
        if method != "GET" || rule == Rule::Anyone {
            continue;
        }
        assert!(matches!(rule, Rule::Client | Rule::Admin), "{path}");
        for cookie in ["orchestra=wrong", "other=1"] {
            let reply = ask(&master, "GET", &path, &[("cookie", cookie), HTML], "").await;
            assert_eq!(reply.status, 303, "{path}");
            assert!(reply.header("location").starts_with("/signin?next=%2F"), "{reply:?}");
        }
    }
    let reply = ask(&master, "GET", "/jobs?q=a%26b", &[HTML], "").await;
    let text = page(&master.get(reply.header("location")).await, "sign-in");
    assert!(text.contains("value=\"/jobs?q=a%26b\""), "{text}");
    let worker = issue(&master, Role::Worker, None).await.token;
    let reply = look(&master, &worker, "/jobs").await;
    assert_eq!(reply.status, 403);
    html(&reply, "a worker's");
}

#[tokio::test]
async fn a_token_goes_into_a_cookie_that_no_script_reads_and_no_other_site_sends() {
    let master = Master::with_tokens().await;
    let client = issue(&master, Role::Client, None).await.token;
    let (host, origin) = (("host", "a.example"), ("origin", "http://a.example"));
    let reply = sign_in(&master, client.as_str(), "%2Fjobs", &[host, origin, OWN]).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/jobs"));
    let plain = format!("orchestra={}; Path=/; HttpOnly; SameSite=Strict", client.as_str());
    assert_eq!(reply.header("set-cookie"), plain);
    let secure =
        sign_in(&master, client.as_str(), "", &[host, ("origin", "https://a.example")]).await;
    assert_eq!(secure.header("set-cookie"), format!("{plain}; Secure"));
    assert_eq!(secure.header("location"), "/");

    page(&look(&master, &client, "/jobs").await, "with the cookie");
    let reply = ask(&master, "POST", "/signout", &[host, origin, OWN], "").await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/signin"));
    assert!(reply.header("set-cookie").starts_with("orchestra=; "), "{reply:?}");
    assert!(reply.header("set-cookie").ends_with("Max-Age=0"), "{reply:?}");
}

#[tokio::test]
async fn nobody_signs_in_with_what_is_no_token_or_from_another_page() {
    let master = Master::with_tokens().await;
    let client = issue(&master, Role::Client, None).await.token;
    let worker = issue(&master, Role::Worker, None).await.token;
    for (token, said) in [("wrong", "not valid"), ("", "not valid"), (worker.as_str(), "workers")] {
        let reply = sign_in(&master, token, "", &[OWN]).await;
        assert_eq!((reply.status.as_u16(), reply.header("set-cookie")), (401, ""));
        let text = html(&reply, token);
        assert!(text.contains(said) && !text.contains(client.as_str()), "{text}");
    }
    for foreign in [
        &[("host", "a.example"), ("origin", "http://evil.example")][..],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
    ] {
        let reply = sign_in(&master, client.as_str(), "", foreign).await;
        assert_eq!((reply.status.as_u16(), reply.header("set-cookie")), (403, ""), "{foreign:?}");
    }
    // A request without such headers could come from any site's form.
    let silent = sign_in(&master, client.as_str(), "", &[]).await;
    assert_eq!((silent.status.as_u16(), silent.header("set-cookie")), (415, ""));
    let none = ask(&master, "POST", "/signout", &[], "").await;
    assert_eq!((none.status.as_u16(), none.header("set-cookie")), (403, ""));
    for next in ["%2F%2Fevil.example", "https%3A%2F%2Fevil.example", "%2F%5Cevil.example"] {
        let reply = sign_in(&master, client.as_str(), next, &[OWN]).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/"), "{next}");
    }
}

/// A browser sends a cookie whichever site caused the request, but not a header.
#[tokio::test]
async fn a_cookie_changes_something_only_where_our_own_page_asks() {
    let master = Master::with_tokens().await;
    let client = issue(&master, Role::Client, None).await.token;
    let cookie = format!("orchestra={}", client.as_str());
    let json = ("content-type", "application/json");
    let (host, cookie) = (("host", "a.example"), ("cookie", cookie.as_str()));
    let submit = async |headers: &[(&str, &str)]| {
        let all = [&[host, cookie, json][..], headers].concat();
        ask(&master, "POST", "/api/job", &all, "{\"command\": \"true\"}").await
    };
    for (headers, status, kind) in [
        (&[][..], 401, "unauthenticated"),
        (&[("sec-fetch-site", "none")], 401, "unauthenticated"),
        (&[("sec-fetch-site", "cross-site")], 403, "cross-site"),
        (&[("sec-fetch-site", "same-site")], 403, "cross-site"),
        (&[("origin", "http://evil.example")], 403, "cross-site"),
        (&[("origin", "http://a.example:3000")], 403, "cross-site"),
        (&[("origin", "null")], 403, "cross-site"),
        (&[OWN, ("authorization", "Bearer wrong")], 401, "unauthenticated"),
    ] {
        let reply = submit(headers).await;
        assert_eq!(
            (reply.status.as_u16(), reply.problem().as_str()),
            (status, kind),
            "{headers:?}"
        );
    }
    let read = ask(&master, "GET", "/api/job", &[host, cookie], "").await;
    assert_eq!(read.json(), json!([]), "nothing was submitted, and reads need no more");
    assert_eq!(submit(&[OWN]).await.status, 201);
    assert_eq!(submit(&[("origin", "http://a.example")]).await.status, 201);
    let foreign = [host, cookie, ("sec-fetch-site", "cross-site")];
    assert_eq!(ask(&master, "GET", "/api/job", &foreign, "").await.problem(), "cross-site");
}

#[tokio::test]
async fn each_is_offered_what_is_theirs_to_do() {
    let master = Master::with_tokens().await;
    let worker = issue(&master, Role::Worker, None).await.token;
    let client = issue(&master, Role::Client, None).await.token;
    let admin = issue(&master, Role::Admin, None).await.token;
    let bearer = format!("Bearer {}", worker.as_str());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let registration = json!({"slots": 1, "queues": ["default"], "version": "1"}).to_string();
    assert_eq!(ask(&master, "PUT", "/api/worker/w", &headers, &registration).await.status, 200);
    for (path, words) in [
        ("/queues", &["data-patch=\"/api/queue/default\""][..]),
        ("/workers", &["data-post=\"/api/worker/w/drain\""]),
    ] {
        let (of_client, of_admin) =
            (look(&master, &client, path).await, look(&master, &admin, path).await);
        for word in words {
            assert!(page(&of_admin, path).contains(word), "{path}");
            assert!(!page(&of_client, path).contains(word), "{path}");
        }
    }
    assert!(page(&look(&master, &client, "/").await, "home").contains("action=\"/signout\""));
    let open = Master::start().await;
    assert!(!page(&open.get("/").await, "open").contains("/signout"), "nobody has signed in");
    assert_eq!(open.get("/signin?next=/jobs").await.header("location"), "/jobs");
}

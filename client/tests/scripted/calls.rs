//! One request, one answer.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, RawQuery},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse},
    routing::{any, get, post},
};
use orchestra_client::{Client, ClientError, Deleted, JobQuery, ListOrder};
use orchestra_contracts::{
    AttemptNo, IdempotencyKey, JobId, JobSpec, JobStatus, LeaseToken, NewSchedule, PROBLEM_JSON,
    Problem, ProblemKind, ScheduleChange, ScheduleName, Span, Token, paths,
    worker::{ClaimTerms, LEASE_HEADER, LeaseRef, LogHead},
};

use crate::server::{job, serve};

fn terms() -> ClaimTerms {
    ClaimTerms {
        worker: "w".parse().unwrap(),
        slots: 2,
        wait: Span::from_secs(1),
        queues: vec!["default".into()],
        request_id: None,
    }
}

#[tokio::test]
async fn a_refusal_is_read_with_its_fields() {
    let body = r#"{"type": "urn:orchestra:problem:invalid", "title": "t", "status": 422,
        "detail": "one field is not acceptable", "later": true,
        "errors": [{"pointer": "/maxRetries", "detail": "is more than 100"}]}"#;
    let answer = (StatusCode::UNPROCESSABLE_ENTITY, [(header::CONTENT_TYPE, PROBLEM_JSON)], body);
    let server = serve(Router::new().route(paths::JOBS, post(answer))).await;
    let error = server.client.submit(&JobSpec::new("true")).await.unwrap_err();
    assert_eq!(error.kind(), Some(ProblemKind::Invalid));
    assert!(!error.is_temporary());
    assert_eq!(error.to_string(), "one field is not acceptable; /maxRetries is more than 100");
}

/// The connection breaks after the master has received the request, and once more after the
/// repetition.
#[tokio::test]
async fn a_submission_whose_answer_is_lost_is_sent_again_under_its_key() {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let seen = keys.clone();
    let handler = move |headers: HeaderMap| async move {
        let key = headers[IdempotencyKey::HEADER].to_str().unwrap().to_owned();
        let times = {
            let mut seen = seen.lock().unwrap();
            seen.push(key);
            seen.len()
        };
        if times < 3 {
            let broken =
                futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("")) });
            return Body::from_stream(broken).into_response();
        }
        (StatusCode::CREATED, Json(job(JobId(4), JobStatus::Pending))).into_response()
    };
    let server = serve(Router::new().route(paths::JOBS, post(handler))).await;
    let spec = JobSpec::new("true");
    assert_eq!(server.client.submit(&spec).await.unwrap().id, JobId(4));
    server.client.submit(&spec).await.unwrap();
    let keys = keys.lock().unwrap();
    assert_eq!(keys.len(), 4);
    assert!(keys[0] == keys[1] && keys[1] == keys[2], "{keys:?}");
    assert_ne!(keys[2], keys[3], "another wish has another key");
    assert!(keys[0].parse::<IdempotencyKey>().is_ok());
}

#[tokio::test]
async fn a_proxy_s_page_is_unreadable_and_may_pass() {
    let page = (StatusCode::BAD_GATEWAY, Html("<h1>502 Bad Gateway</h1>"));
    let server = serve(Router::new().fallback(any(page))).await;
    let error = server.client.job(JobId(1)).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreadable { status: 502, .. }), "{error}");
    assert!(error.is_temporary());
}

#[tokio::test]
async fn somebody_else_s_server_is_told_apart() {
    let server = serve(Router::new().fallback(any(Html("<h1>It works!</h1>")))).await;
    let error = server.client.job(JobId(1)).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreadable { status: 200, .. }), "{error}");
    assert!(!error.is_temporary());
}

#[tokio::test]
async fn every_kind_of_request_shows_the_token_and_none_prints_it() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let seen = shown.clone();
    let handler = move |head: HeaderMap| {
        seen.lock().unwrap().push(head.get(header::AUTHORIZATION).cloned());
        async { StatusCode::NO_CONTENT }
    };
    let server = serve(Router::new().fallback(any(handler))).await;
    let secret = format!("{}{}", Token::PREFIX, "5ec2e7".repeat(11).split_at(64).0);
    let client = server.client.clone().with_token(&Token::new(&secret)).unwrap();
    assert!(!format!("{client:?}").contains("5ec2e7"), "{client:?}");
    // A plain call, one that waits, and one that stays open. The test does not need their answers.
    assert_eq!(client.delete(JobId(1)).await.unwrap(), Deleted::Now);
    assert_eq!(client.claim(&terms()).await.unwrap(), []);
    let _ = client.log_text(JobId(1), &orchestra_client::LogQuery::default()).await.unwrap();
    let expected = format!("Bearer {secret}");
    let shown = shown.lock().unwrap();
    assert_eq!(shown.len(), 3);
    assert!(shown.iter().all(|value| value.as_ref().is_some_and(|it| it == expected.as_str())));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Client::new(&address.to_string()).unwrap();
    let error = client.healthy().await.unwrap_err();
    assert!(error.is_temporary());
    let text = error.to_string();
    assert!(text.starts_with(&format!("no answer from http://{address}: Connection refused")));
}

#[tokio::test]
async fn a_claim_without_jobs_is_empty() {
    let server = serve(Router::new().route(paths::CLAIM, post(StatusCode::NO_CONTENT))).await;
    assert_eq!(server.client.claim(&terms()).await.unwrap(), []);
}

#[tokio::test]
async fn a_claim_brings_leases() {
    let claimed = serde_json::json!([{
        "job": job(JobId(7), JobStatus::Assigned),
        "lease": {"attempt": 1, "token": "secret", "ttl": "1m"},
    }]);
    let server = serve(Router::new().route(paths::CLAIM, post(Json(claimed)))).await;
    let claimed = server.client.claim(&terms()).await.unwrap();
    assert_eq!(claimed[0].job.id, JobId(7));
    assert_eq!(claimed[0].lease.token, LeaseToken::new("secret"));
    assert_eq!(claimed[0].lease.ttl, Span::from_secs(60));
}

#[tokio::test]
async fn an_upload_carries_offset_worker_and_token() {
    let head = LogHead { offset: 44, output: 4, gap: 0, crc32: 9 };
    let handler =
        move |path: Path<(i64, u32)>, query: RawQuery, head_of: HeaderMap, body: Bytes| {
            assert_eq!(path.0, (3, 2));
            assert_eq!(query.0.as_deref(), Some("offset=40&worker=w"));
            assert_eq!(head_of[LEASE_HEADER], "secret");
            assert_eq!(head_of[header::CONTENT_TYPE], "application/octet-stream");
            assert_eq!(&body[..], b"\x01\xff");
            async move { Json(head) }
        };
    let server = serve(Router::new().route(paths::ATTEMPT_LOG, post(handler))).await;
    let lease = LeaseRef { job: JobId(3), attempt: AttemptNo(2), token: LeaseToken::new("secret") };
    let worker = "w".parse().unwrap();
    let answer = server.client.append_log(&worker, &lease, 40, Bytes::from_static(b"\x01\xff"));
    assert_eq!(answer.await.unwrap(), head);
}

#[tokio::test]
async fn waiting_outlasts_running_and_a_restart() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let handler = move |Query(query): Query<Vec<(String, String)>>| async move {
        assert_eq!(query, [("wait".to_owned(), "30s".to_owned())]);
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => Json(job(JobId(1), JobStatus::Running)).into_response(),
            1 => StatusCode::BAD_GATEWAY.into_response(),
            _ => Json(job(JobId(1), JobStatus::Completed)).into_response(),
        }
    };
    let server = serve(Router::new().route(paths::JOB, get(handler))).await;
    let ended = server.client.wait(JobId(1)).await.unwrap();
    assert_eq!(ended.status, JobStatus::Completed);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_list_says_what_it_wants_and_where_it_goes_on() {
    let asked = Arc::new(Mutex::new(String::new()));
    let seen = asked.clone();
    let handler = move |RawQuery(query): RawQuery| {
        *seen.lock().unwrap() = query.unwrap_or_default();
        let link = [(header::LINK, "</api/job?limit=1&cursor=8>; rel=\"next\"")];
        async move { (link, Json(vec![job(JobId(8), JobStatus::Running)])) }
    };
    let server = serve(Router::new().route(paths::JOBS, get(handler))).await;
    let query = JobQuery {
        statuses: vec![JobStatus::Running],
        labels: vec![("team".into(), "core".into())],
        text: Some("g++ a&b".into()),
        array: Some(JobId(3)),
        order: ListOrder::Newest,
        limit: Some(1),
        ..JobQuery::default()
    };
    let page = server.client.jobs(&query).await.unwrap();
    assert_eq!(page.jobs[0].id, JobId(8));
    assert_eq!(page.next.as_deref(), Some("8"));
    assert_eq!(
        *asked.lock().unwrap(),
        "status=Running&label=team%3Dcore&q=g%2B%2B+a%26b&array=3&order=newest&limit=1"
    );
}

#[tokio::test]
async fn a_deletion_says_when() {
    let handler = |Path(id): Path<i64>| async move {
        if id == 1 { StatusCode::NO_CONTENT } else { StatusCode::ACCEPTED }
    };
    let server = serve(Router::new().route(paths::JOB, axum::routing::delete(handler))).await;
    assert_eq!(server.client.delete(JobId(1)).await.unwrap(), Deleted::Now);
    assert_eq!(server.client.delete(JobId(2)).await.unwrap(), Deleted::WhenEnded);
}

#[tokio::test]
async fn a_schedule_is_made_changed_and_removed_under_its_name() {
    let shown = |paused: bool| {
        Json(serde_json::json!({
            "name": "nightly", "cron": "@daily", "timeZone": "UTC", "overlap": "skip",
            "catchUp": "1h", "spec": {"command": "true"}, "paused": paused, "nextTimes": [],
            "lastTime": null, "lastJob": null, "skipped": 0, "createdAt": "2026-01-02T03:04:05Z",
        }))
    };
    let make = move |Json(wanted): Json<NewSchedule>| async move {
        assert_eq!(wanted.cron, "@daily");
        (StatusCode::CREATED, shown(false))
    };
    let change = move |Path(name): Path<String>, Json(change): Json<ScheduleChange>| async move {
        assert_eq!(name, "nightly");
        shown(change.paused.unwrap())
    };
    let gone = || async { StatusCode::NO_CONTENT };
    let router = Router::new()
        .route(paths::SCHEDULES, post(make).get(move || async move { Json([shown(true).0]) }))
        .route(paths::SCHEDULE, axum::routing::patch(change).delete(gone));
    let server = serve(router).await;
    let name: ScheduleName = "nightly".parse().unwrap();
    let wanted = NewSchedule::new(name.clone(), "@daily", JobSpec::new("true"));
    let made = server.client.create_schedule(&wanted).await.unwrap();
    assert_eq!((made.what, made.paused), (wanted, false));
    assert!(server.client.schedules().await.unwrap()[0].paused);
    let change = ScheduleChange { paused: Some(true) };
    assert!(server.client.change_schedule(&name, change).await.unwrap().paused);
    server.client.remove_schedule(&name).await.unwrap();
}

#[tokio::test]
async fn a_misplaced_upload_says_where_to_go_on() {
    let problem = Problem {
        kind: ProblemKind::LogOffset,
        title: "t".into(),
        status: 409,
        detail: "d".into(),
        errors: vec![],
        hint: None,
        log: Some(LogHead { offset: 12, ..LogHead::default() }),
        artifact: None,
    };
    let router =
        Router::new().route(paths::ATTEMPT_LOG, get((StatusCode::CONFLICT, Json(problem))));
    let server = serve(router).await;
    let error = server.client.log_head(JobId(1), AttemptNo(1)).await.unwrap_err();
    let ClientError::Refused(problem) = error else { panic!("{error}") };
    assert_eq!(problem.log.map(|head| head.offset), Some(12));
}

//! Invalid credentials in place of a token.

use axum::body::Body;
use orchestra_contracts::Role;

use super::refused;
use crate::{
    access::issue,
    harness::{Master, request},
};

/// Values of `authorization`; `TOKEN` stands for a valid token.
pub(super) const HEADERS: &[&str] = &[
    "",
    "Bearer",
    "Bearer ",
    "Bearer \t",
    "TOKEN",
    "Basic TOKEN",
    "Bearer=TOKEN",
    "Bearer:TOKEN",
    "BearerTOKEN",
    "Token TOKEN",
    "Bearer TOKEN0",
    "Bearer TOKEN,TOKEN",
    "Bearer TOKEN Bearer",
    "Bearer \"TOKEN\"",
    "Bearer orchestra_",
    "Bearer null",
    "Bearer ' OR 1=1 --",
    "Bearer t\u{f6}ken",
];

#[tokio::test]
async fn what_is_no_token_lets_nobody_in() {
    let master = Master::with_tokens().await;
    let valid = issue(&master, Role::Admin, None).await.token;
    let valid = valid.as_str();
    let mut headers: Vec<_> = HEADERS.iter().map(|it| it.replace("TOKEN", valid)).collect();
    headers.extend([
        format!("Bearer {}", &valid[..valid.len() - 1]),
        format!("Bearer {}", valid.to_uppercase()),
        format!("Bearer {}", "x".repeat(10_000)),
    ]);
    for header in &headers {
        let request = request("GET", "/api/job").header("authorization", header.as_bytes());
        let reply = master.send(request.body(Body::empty()).unwrap()).await;
        refused(&reply, 401, "unauthenticated", header);
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"orchestra\"");
        assert!(!reply.text().contains(valid), "the token is not repeated");
    }
    let twice = request("GET", "/api/job")
        .header("authorization", format!("Bearer {valid}"))
        .header("authorization", "Bearer other");
    assert_eq!(master.send(twice.body(Body::empty()).unwrap()).await.status, 401);
    let asked = master.get(&format!("/api/job?token={valid}")).await;
    refused(&asked, 401, "unauthenticated", "in the address");
    let fine = request("GET", "/api/job").header("authorization", format!("bearer {valid}"));
    assert_eq!(master.send(fine.body(Body::empty()).unwrap()).await.status, 200);
}

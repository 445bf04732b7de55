//! Lists: filters, pages, and the whole list at once.

use serde_json::json;

use crate::harness::{Master, Reply};

fn ids(reply: &Reply) -> Vec<i64> {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json().as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).collect()
}

fn next(reply: &Reply) -> Option<String> {
    let link = reply.header("link").strip_suffix(">; rel=\"next\"")?;
    Some(link.strip_prefix('<').unwrap().to_owned())
}

#[tokio::test]
async fn filters_narrow_the_list() {
    let master = Master::start().await;
    master.submit(json!({"command": "make all", "queue": "big", "labels": {"a": "1"}})).await;
    master
        .submit(json!({"command": "echo", "name": "Make-up", "labels": {"a": "1", "b": "2"}}))
        .await;
    master.submit(json!({"command": "echo 100%"})).await;
    let claimed = master.claim("w").await.unwrap();
    assert_eq!(claimed.job.id.0, 2);
    for (query, expected) in [
        ("", vec![1, 2, 3]),
        ("?status=pending", vec![1, 3]),
        ("?status=1", vec![2]),
        ("?status=PENDING,Assigned", vec![1, 2, 3]),
        ("?status=0&status=assigned", vec![1, 2, 3]),
        ("?status=Failed", vec![]),
        ("?queue=big", vec![1]),
        ("?label=a=1", vec![1, 2]),
        ("?label=a=1&label=b=2", vec![2]),
        ("?label=a%3D1", vec![1, 2]),
        ("?label=a=", vec![]),
        ("?worker=w", vec![2]),
        ("?worker=other", vec![]),
        ("?q=make", vec![1, 2]),
        ("?q=100%25", vec![3]),
        ("?q=make+all", vec![1]),
        ("?q=", vec![1, 2, 3]),
        ("?array=1", vec![]),
        ("?order=newest", vec![3, 2, 1]),
        ("?order=newest&status=pending", vec![3, 1]),
        ("?limit=2", vec![1, 2]),
        ("?limit=2&cursor=2", vec![3]),
        ("?cursor=2", vec![3]),
    ] {
        assert_eq!(ids(&master.get(&format!("/api/job{query}")).await), expected, "{query}");
    }
}

#[tokio::test]
async fn pages_are_linked() {
    let master = Master::start().await;
    for _ in 0..5 {
        master.submit(json!({"command": "true", "labels": {"k": "v"}})).await;
    }
    for (order, expected) in [("oldest", [1, 2, 3, 4, 5]), ("newest", [5, 4, 3, 2, 1])] {
        let mut path = Some(format!("/api/job?label=k=v&order={order}&limit=2"));
        let (mut all, mut pages) = (Vec::new(), 0);
        while let Some(page) = path {
            let reply = master.get(&page).await;
            all.extend(ids(&reply));
            path = next(&reply);
            pages += 1;
        }
        assert_eq!((all.as_slice(), pages), (expected.as_slice(), 3));
    }
    assert_eq!(next(&master.get("/api/job?limit=5").await), None, "a full last page has no next");
}

#[tokio::test]
async fn a_list_without_a_limit_has_everything() {
    let master = Master::start().await;
    for _ in 0..150 {
        master.submit(json!({"command": "true"})).await;
    }
    assert_eq!(ids(&master.get("/api/job").await), (1..=150).collect::<Vec<_>>());
    assert_eq!(ids(&master.get("/api/job/pending").await), (1..=150).collect::<Vec<_>>());
    assert_eq!(
        ids(&master.get("/api/job?order=newest").await),
        (1..=150).rev().collect::<Vec<_>>()
    );
}

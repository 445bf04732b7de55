//! The description of the API for programs, held to the routes that there are.

use std::collections::BTreeSet;

use orchestra_contracts::ProblemKind;
use orchestra_master::http::{self, Rule};
use serde_json::{Value, json};

fn description() -> Value {
    serde_json::from_str(include_str!("../../../contracts/openapi.json")).unwrap()
}

/// As the description writes it, which has no word for a part of an address that may have slashes.
fn plain(path: &str) -> String {
    path.replace("{*", "{")
}

/// Method and path of each operation, with the operation.
fn operations(description: &Value) -> Vec<(String, String, &Value)> {
    let paths = description["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap().iter();
        operations.map(|(method, it)| (method.to_uppercase(), path.clone(), it))
    });
    all.collect()
}

#[test]
fn it_lists_exactly_the_routes() {
    let description = description();
    let described: BTreeSet<_> =
        operations(&description).into_iter().map(|(method, path, _)| (method, path)).collect();
    let routes: BTreeSet<_> = http::routes()
        .into_iter()
        .map(|(method, path, _)| (method.to_string(), plain(path)))
        .collect();
    assert_eq!(described, routes);
}

#[test]
fn each_operation_says_whether_it_wants_a_token() {
    let description = description();
    for (method, path, operation) in operations(&description) {
        let rule = http::routes().into_iter().find(|it| it.0 == *method && plain(it.1) == path);
        let is_open = rule.unwrap().2 == Rule::Anyone;
        assert_eq!(operation["security"] == json!([]), is_open, "{method} {path}");
        assert_eq!(operation["responses"]["401"].is_null(), is_open, "{method} {path}");
        assert!(operation["responses"]["500"].is_null(), "{method} {path}");
    }
}

#[test]
fn every_kind_of_problem_fits_its_pattern() {
    let pattern = description()["components"]["schemas"]["Problem"]["properties"]["type"].clone();
    assert_eq!(pattern["pattern"], "^urn:orchestra:problem:[a-z-]+$");
    let kind = serde_json::to_value(ProblemKind::UriTooLong).unwrap();
    assert_eq!(kind, "urn:orchestra:problem:uri-too-long");
}

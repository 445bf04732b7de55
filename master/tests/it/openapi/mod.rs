//! Checks `openapi.json`, the API description, against the code: the routes here, the body types in
//! `types`, and the examples with their answers in `served`.

mod served;
mod types;

use std::collections::BTreeSet;

use orchestra_contracts::{OPENAPI, ProblemKind};
use orchestra_master::http::{self, Rule};
use serde_json::{Value, json};

use crate::harness::Master;

fn description() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

/// The violations of a schema of the description by a value.
fn faults(description: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let whole = json!({"allOf": [schema], "components": description["components"]});
    let validator = jsonschema::options().should_validate_formats(true).build(&whole).unwrap();
    validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// The path as in the description, which cannot express a parameter with slashes.
fn plain(path: &str) -> String {
    path.replace("{*", "{")
}

/// Method, path and definition of each operation.
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

#[test]
fn each_operation_has_a_name_of_its_own_and_stands_in_a_group() {
    let description = description();
    let groups: BTreeSet<_> = description["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].clone().to_string())
        .collect();
    let mut names = BTreeSet::new();
    let mut used = BTreeSet::new();
    for (method, path, operation) in operations(&description) {
        let name = operation["operationId"].as_str().unwrap_or_default();
        assert!(!name.is_empty() && names.insert(name), "{method} {path}: {name}");
        let [group] = &operation["tags"].as_array().unwrap()[..] else { panic!("{method} {path}") };
        used.insert(group.to_string());
        // The documentation page fills in the parameters of a path.
        for one in operation["parameters"].as_array().into_iter().flatten() {
            let is_shown = one["in"] != "path" || !one["example"].is_null();
            assert!(is_shown, "{method} {path}: {} has no example", one["name"]);
        }
    }
    assert_eq!(used, groups);
}

#[tokio::test]
async fn it_is_served_as_it_stands() {
    let master = Master::with_tokens().await;
    let reply = master.get("/openapi.json").await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/json"));
    assert_eq!(reply.text(), OPENAPI);
}

/// The documentation page is complete, and its internal links resolve.
#[tokio::test]
async fn the_page_shows_every_call_and_every_body() {
    let master = Master::with_tokens().await;
    let reply = master.get("/docs").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let page = reply.text();
    let description = description();
    for (method, path, operation) in operations(&description) {
        let name = operation["operationId"].as_str().unwrap();
        let section = page.split(&format!("<article class=\"card call\" id=\"{name}\">")).nth(1);
        let section = section.unwrap_or_else(|| panic!("{method} {path} is not there"));
        let section = section.split("</article>").next().unwrap();
        assert!(section.contains(&format!("{method} {path}")), "{section}");
        assert!(section.contains("curl "), "{section}");
        for status in operation["responses"].as_object().unwrap().keys() {
            assert!(section.contains(&format!("<code>{status}</code>")), "{name}: {status}");
        }
        for one in operation["parameters"].as_array().into_iter().flatten() {
            assert!(section.contains(one["name"].as_str().unwrap()), "{name}: {one}");
        }
    }
    for name in description["components"]["schemas"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("id=\"schema-{name}\"")), "{name}");
    }
    for rest in page.split("href=\"#").skip(1) {
        let anchor = rest.split('"').next().unwrap();
        assert!(page.contains(&format!("id=\"{anchor}\"")), "#{anchor} leads nowhere");
    }
}

//! The dashboard of `deploy/monitoring`: checks that it has what Grafana needs, and runs each of its
//! queries against a real Prometheus that scrapes a real master. Grafana itself is not started.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    time::Duration,
};

use orchestra_tests::{Api, Plan, free_port, program::Program, repository, skip, wait};
use serde_json::{Value, json};

/// Panels that show only failures, so an empty result is correct.
const OF_FAILURES: [&str; 2] =
    ["Engine: calls that fail, a second", "Database: calls that fail, a second"];
/// Grafana uses at least four scrape intervals.
const RATE_INTERVAL: &str = "15s";

fn dashboard() -> Value {
    let file = repository().join("deploy/monitoring/dashboard.json");
    serde_json::from_str(&fs::read_to_string(file).expect("it is there")).expect("it is JSON")
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().expect("it has panels")
}

/// Each query with the title of its panel.
fn questions(dashboard: &Value) -> Vec<(String, String)> {
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().expect("each has a title").to_owned();
        let targets = panel["targets"].as_array().expect("each asks for something").clone();
        targets.into_iter().map(move |target| {
            let expr = target["expr"].as_str().expect("in Prometheus's words").to_owned();
            (title.clone(), expr)
        })
    };
    panels(dashboard).iter().flat_map(of_panel).collect()
}

/// Replaces variables as Grafana does, with all masters selected.
fn substituted(expr: &str) -> String {
    let expr = expr.replace("$__rate_interval", RATE_INTERVAL).replace("$instance", ".*");
    assert!(!expr.contains('$'), "a variable unknown to this test: {expr}");
    expr
}

/// <https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/>
#[test]
fn it_has_what_grafana_needs() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "orchestra");
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36), "old");
    assert!(dashboard["id"].is_null(), "a number is of one installation");
    let variables = dashboard["templating"]["list"].as_array().expect("it has variables");
    let source = variables.iter().find(|variable| variable["type"] == "datasource");
    assert_eq!(source.expect("the data source is chosen")["query"], "prometheus");
    let names: BTreeSet<_> = variables.iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "instance"].into());

    let wanted = json!({"type": "prometheus", "uid": "${datasource}"});
    let mut ids = BTreeSet::new();
    let mut taken = BTreeMap::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().expect("it has a title");
        assert!(ids.insert(panel["id"].as_u64().expect("it has a number")), "{title}: twice");
        assert!(["stat", "timeseries"].iter().any(|kind| panel["type"] == *kind), "{title}");
        assert_eq!(panel["datasource"], wanted, "{title}");
        let targets = panel["targets"].as_array().expect("it has a query");
        let refs: BTreeSet<_> = targets.iter().filter_map(|it| it["refId"].as_str()).collect();
        assert_eq!(refs.len(), targets.len(), "{title}: one letter each");
        assert!(targets.iter().all(|target| target["datasource"] == wanted), "{title}");
        let of = |name: &str| panel["gridPos"][name].as_u64().expect("it has a place");
        let (x, y, w, h) = (of("x"), of("y"), of("w"), of("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}: a row has 24 columns");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            if let Some(other) = taken.insert(place, title) {
                panic!("{title} overlaps {other}");
            }
        }
    }
    // Grafana moves panels up into gaps, which would change the layout.
    let deepest = taken.keys().map(|(_, y)| y + 1).max().unwrap_or_default();
    assert_eq!(taken.len() as u64, 24 * deepest, "the layout has gaps");
}

/// Prometheus with the settings of `deploy/monitoring`, except for the address and the interval.
fn prometheus(folder: &std::path::Path, master: u16, port: u16) -> Program {
    let monitoring = repository().join("deploy/monitoring");
    let settings = fs::read_to_string(monitoring.join("prometheus.yml")).expect("it is there");
    let ours = settings
        .replace("localhost:5216", &format!("127.0.0.1:{master}"))
        .replace("scrape_interval: 15s", "scrape_interval: 1s");
    assert_eq!(ours.matches(&master.to_string()).count(), 1, "{ours}");
    fs::write(folder.join("prometheus.yml"), ours).expect("it can be written");
    fs::copy(monitoring.join("alerts.yml"), folder.join("alerts.yml")).expect("it is there");
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Program::start("prometheus", command, folder.join("prometheus.log"))
}

/// Runs a query and returns the values of all series.
async fn ask(prometheus: &Api, expr: &str) -> Result<Vec<f64>, String> {
    let request = prometheus.request(reqwest::Method::GET, "/api/v1/query");
    let answer = prometheus.send(request.query(&[("query", expr)])).await;
    let answer: Value = answer.json();
    if answer["status"] != "success" {
        return Err(format!("{expr}: {}", answer["error"]));
    }
    let series = answer["data"]["result"].as_array().expect("a vector").iter();
    let value = |one: &Value| one["value"][1].as_str().and_then(|text| text.parse().ok());
    Ok(series.filter_map(value).collect())
}

#[tokio::test]
async fn prometheus_has_an_answer_to_all_that_it_asks() {
    let installed = Command::new("prometheus").arg("--version").output();
    if installed.is_err() {
        return skip("dashboard", "prometheus is not installed (apt install prometheus)");
    }
    let plan = Plan::default().setting("ORCHESTRA_LEASE", "4s");
    let Some(stack) = plan.start().await else { return };
    let port = free_port();
    let mut watcher = prometheus(stack.folder(), stack.port, port);
    let prometheus = Api::new(format!("http://127.0.0.1:{port}"));
    wait::until("Prometheus to be ready", wait::START, async || {
        assert!(watcher.ended().is_none(), "{}", watcher.printed());
        let answer = prometheus.request(reqwest::Method::GET, "/-/ready").send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;

    let questions = questions(&dashboard());
    let mut open: Vec<_> =
        questions.iter().filter(|(title, _)| !OF_FAILURES.contains(&title.as_str())).collect();
    for (title, expr) in &questions {
        let answer = ask(&prometheus, &substituted(expr)).await;
        answer.unwrap_or_else(|error| panic!("{title}: {error}"));
    }
    // Rates need two scrapes with a change in between; data from workers needs their heartbeats.
    let mut asked = 0;
    while !open.is_empty() {
        assert!(asked < 60, "nothing to show: {open:#?}");
        asked += 1;
        let job = stack.api.run(&json!({"command": "echo shown"})).await;
        assert_eq!(job.output, "shown\n");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut still = Vec::new();
        for question in open {
            let answer = ask(&prometheus, &substituted(&question.1)).await.expect("as before");
            if !answer.iter().any(|value| value.is_finite()) {
                still.push(question);
            }
        }
        open = still;
    }
    watcher.kill();
    stack.stop().await;
}

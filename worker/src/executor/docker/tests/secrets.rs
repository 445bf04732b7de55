//! Secrets in a real container: the command has them, and nothing on the engine shows them.

use orchestra_contracts::{JobSpec, Secret};

use rstest::rstest;

use super::lab::{
    Lab,
    Start::{self, Cold, Warm},
};

const VALUE: &str = "correct/horse+battery staple";

/// Prints the secret in every way that may happen by accident, once in two writes.
const TELL: &str = r#"
    echo "plain $TOKEN" >&2
    printf 'two %s' "${TOKEN:0:11}"; sleep 0.2; printf '%s\n' "${TOKEN:11}"
    for before in '' u: us:; do printf %s "$before$TOKEN" | base64; done
    printf %s "$TOKEN" | base64 | tr +/ -_
    printf %s "$TOKEN" | od -An -v -tx1 | tr -d ' \n'; echo
    echo correct%2Fhorse%2Bbattery%20staple correct%2fhorse%2bbattery+staple
    set -x; : "$TOKEN"; set +x
    [ "$TOKEN" = 'correct/horse+'"battery staple" ] && echo known; ls /proc/1/fd 2> /dev/null
    echo here; until [ -e go ]; do sleep 0.05; done"#;

#[rstest]
#[tokio::test]
async fn nothing_of_a_secret_leaves_its_container(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let mut spec = JobSpec::new(TELL);
    spec.secrets = [("TOKEN".to_owned(), Secret::new(VALUE))].into();
    let mut running = lab.start(spec);
    running.until_output("here\n").await;

    let engine = &lab.executor.keeper.engine;
    let container = lab.container().await;
    let inspected = engine.inspect(container.trim_start_matches('/')).await.unwrap();
    let shown = serde_json::to_string(&inspected).unwrap();
    assert!(!shown.contains("battery"), "{shown}");
    let logs = engine.docker().logs(
        container.trim_start_matches('/'),
        Some(bollard::query_parameters::LogsOptions {
            stdout: true,
            stderr: true,
            ..Default::default()
        }),
    );
    let logs: Vec<_> = futures::TryStreamExt::try_collect(logs).await.unwrap();
    let kept: Vec<u8> =
        logs.into_iter().flat_map(bollard::container::LogOutput::into_bytes).collect();
    let kept = String::from_utf8_lossy(&kept);
    assert!(kept.contains("known") && !kept.contains("battery"), "{kept}");

    std::fs::write(lab.files().join("go"), "").unwrap();
    let seen = running.end().await;
    let (stdout, stderr) = (seen.success(), seen.stderr());
    // In base64 the text around it shares at most one character with it.
    let mut lines = stdout.lines();
    assert_eq!(lines.next(), Some("two ***"));
    for (before, line) in ["", "u:", "us:"].into_iter().zip(lines.by_ref()) {
        assert!(line.contains("***") && line.len() < 12, "{before:?}: {line}");
    }
    assert!(lines.next().is_some_and(|line| line.contains("***") && line.len() < 12), "{stdout}");
    assert_eq!(lines.collect::<Vec<_>>(), ["***", "*** ***", "known", "here"]);
    let traced = stderr.lines().filter(|line| line.contains("***")).count();
    assert!(traced >= 2 && !stderr.contains("battery"), "{stderr}");
    lab.close().await;
}

//! Builds that fail: whose fault it is, what is reported, and whether the build is tried again.

use super::*;

#[tokio::test]
async fn a_failing_build_gives_its_last_lines() {
    let dockerfile =
        "ARG BASE\nFROM ${BASE}\nRUN for i in $(seq 100); do echo line $i; done; exit 3\n";
    with_lab(dockerfile, async |lab| {
        let (image, lines) = lab.ensure().await;
        let error = image.unwrap_err();
        assert!(matches!(error, ImageError::Broken { .. }), "{error:?}");
        let reason = error.to_string();
        assert!(reason.starts_with(&format!("the build of image {} failed: ", lab.name)));
        assert!(reason.contains("returned a non-zero code: 3"), "{reason}");
        assert!(reason.contains("\n  line 81\n") && reason.ends_with("\n  line 100"), "{reason}");
        assert!(!reason.contains("line 80\n"), "{reason}");
        assert!(lines.iter().any(|line| line.contains(": RUN for i")), "{lines:?}");
        // The same folder is not built again, unless somebody asks for it explicitly.
        let (again, lines) = lab.ensure().await;
        assert_eq!(again, Err(error.clone()));
        assert!(
            matches!(&lines[..], [line] if line.contains("has not changed since")),
            "{lines:?}"
        );
        let (asked, lines) = heard(|progress| lab.images.build(&lab.name, progress)).await;
        assert_eq!(asked, Err(error));
        assert!(lines.iter().any(|line| line.contains(": RUN for i")), "{lines:?}");
        // An edited folder is.
        lab.write("Dockerfile", "ARG BASE\nFROM ${BASE}\nLABEL fine=yes\n");
        lab.ensure().await.0.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_network_that_fails_a_step_is_not_held_against_the_folder() {
    let step = "echo 'curl: (6) Could not resolve host: example.org' >&2; exit 6";
    with_lab(&format!("ARG BASE\nFROM ${{BASE}}\nRUN {step}\n"), async |lab| {
        for _ in 0..2 {
            let (image, lines) = lab.ensure().await;
            assert!(matches!(image, Err(ImageError::Unavailable { .. })), "{image:?}");
            assert!(lines.iter().any(|line| line.contains(": building ")), "{lines:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_build_is_bounded_in_time_and_in_silence() {
    let talk = "ARG BASE\nFROM ${BASE}\nRUN while :; do echo on and on; sleep 0.2; done\n";
    let mute = "ARG BASE\nFROM ${BASE}\nRUN echo last words; sleep 1000\n";
    for (dockerfile, said, setting) in [
        (talk, "after 5s in all", "ORCHESTRA_BUILD_TIMEOUT"),
        (mute, "after 2s of silence", "ORCHESTRA_BUILD_IDLE"),
    ] {
        let (build_timeout, build_idle) = (Span::from_secs(5), Span::from_secs(2));
        let rules = ImagesConfig { build_timeout, build_idle, ..ImagesConfig::default() };
        with_rules(rules, dockerfile, async |lab| {
            let error = lab.ensure().await.0.unwrap_err();
            assert!(matches!(error, ImageError::Broken { .. }), "{error:?}");
            let reason = error.to_string();
            assert!(reason.contains(said) && reason.contains(setting), "{reason}");
            assert!(reason.contains("\n  "), "without its last lines: {reason}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_dockerfile_that_cannot_be_read_is_said_to_be_so() {
    with_lab("FROM\n", async |lab| {
        let error = lab.ensure().await.0.unwrap_err();
        assert!(matches!(error, ImageError::Broken { .. }), "{error:?}");
        let reason = error.to_string();
        assert!(reason.starts_with("the build of image test-"), "{reason}");
        assert!(reason.contains("FROM"), "{reason}");
    })
    .await;
}

//! Images from a registry: which are allowed, how they arrive, and what is reported if they do not.

use std::sync::atomic::Ordering;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    registry::{Manner, Registry},
    *,
};

/// The images of a worker that may pull only `tool` from that registry.
fn images(docker: &Docker, registry: &Registry, home: &Path) -> Images {
    let rules = ImagesConfig {
        allow_images: vec![format!("{}/tool", registry.address).parse().unwrap()],
        pull_idle: Span::from_secs(2),
        docker_config: Some(home.to_owned()),
        ..ImagesConfig::default()
    };
    Images::new(docker.clone(), home.join("images"), rules)
}

async fn with_registry(manner: Manner, test: impl AsyncFnOnce(&Docker, &Registry, &Images, &Path)) {
    let Some(docker) = engine().await else { return };
    let (home, registry) = (tempfile::tempdir().unwrap(), Registry::open(manner).await);
    let images = images(&docker, &registry, home.path());
    let result =
        AssertUnwindSafe(test(&docker, &registry, &images, home.path())).catch_unwind().await;
    for which in [":1".to_owned(), format!("@{}", registry.digest)] {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        let reference = format!("{}/tool{which}", registry.address);
        // Most tests have pulled one of them, or none.
        let _ = docker.remove_image(&reference, Some(options), None).await;
    }
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[tokio::test]
async fn ten_at_once_pull_it_once_and_all_hear_its_digest() {
    with_registry(Manner::Good, async |_, registry, images, _| {
        let reference = format!("{}/tool:1", registry.address);
        let ensure = || heard(|progress| images.ensure(&reference, progress));
        for (image, lines) in future::join_all((0..10).map(|_| ensure())).await {
            let image = image.unwrap();
            assert_eq!(image.digest.as_ref(), Some(&registry.digest));
            let said = |text: &str| lines.contains(&format!("image {reference}: {text}"));
            assert!(said("pulling") && said("pulled") && said(&registry.digest), "{lines:?}");
            assert!(lines.iter().any(|line| line.contains(" % of 1 layers")), "{lines:?}");
        }
        assert_eq!(registry.layers.load(Ordering::Relaxed), 1);
        // The image exists now. Every attempt is still told which one it is.
        let (_, lines) = ensure().await;
        assert_eq!(lines, [format!("image {reference}: {}", registry.digest)]);
        let pinned = format!("{}/tool@{}", registry.address, registry.digest);
        let (image, _) = heard(|progress| images.ensure(&pinned, progress)).await;
        assert_eq!(image.unwrap().digest.as_ref(), Some(&registry.digest));
        assert_eq!(registry.layers.load(Ordering::Relaxed), 1);
    })
    .await;
}

#[tokio::test]
async fn what_no_pattern_lets_in_is_not_even_asked_for() {
    with_registry(Manner::Good, async |_, registry, images, _| {
        for name in ["other:1", "tool/x:1", "tool:1:1", "../tool:1"] {
            let reference = format!("{}/{name}", registry.address);
            let (image, lines) = heard(|progress| images.ensure(&reference, progress)).await;
            assert_eq!(image, Err(ImageError::NotAllowed(reference.clone())));
            assert_eq!(lines, <[&str; 0]>::default());
        }
        assert_eq!(registry.layers.load(Ordering::Relaxed), 0);
    })
    .await;
}

#[tokio::test]
async fn a_login_of_the_engines_command_line_is_used() {
    let word = STANDARD.encode("me:secret");
    with_registry(Manner::Asks(format!("Basic {word}")), async |_, registry, images, home| {
        let reference = format!("{}/tool:1", registry.address);
        let ensure = || heard(|progress| images.ensure(&reference, progress));
        let (refused, _) = ensure().await;
        assert!(matches!(refused, Err(ImageError::Unavailable { .. })), "{refused:?}");
        let logins = format!(r#"{{"auths": {{"{}": {{"auth": "{word}"}}}}}}"#, registry.address);
        fs::write(home.join("config.json"), logins).unwrap();
        let (image, lines) = ensure().await;
        assert_eq!(image.unwrap().digest.as_ref(), Some(&registry.digest));
        assert!(!lines.iter().any(|line| line.contains("secret") || line.contains(&word)));
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_hangs_or_has_no_such_image_is_given_up_and_may_be_asked_again() {
    for (manner, said) in [
        (Manner::Hangs, "given up after 2s without a word (ORCHESTRA_PULL_IDLE)"),
        (Manner::Empty, "manifest unknown"),
    ] {
        with_registry(manner, async |_, registry, images, _| {
            let reference = format!("{}/tool:1", registry.address);
            let (image, _) = heard(|progress| images.ensure(&reference, progress)).await;
            let Err(ImageError::Unavailable { reason }) = image else { panic!("{image:?}") };
            assert!(reason.contains(said) && reason.contains(&reference), "{reason}");
        })
        .await;
    }
}

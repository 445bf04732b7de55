//! A job in an image from a registry.

use bollard::query_parameters::RemoveImageOptionsBuilder;
use orchestra_contracts::{JobSpec, Outcome};

use super::{super::images::tests::registry::Registry, lab::Lab};

#[tokio::test]
async fn a_job_runs_in_an_image_of_a_registry_and_says_which_it_was() {
    let registry = Registry::with_shell().await;
    let allowed = format!("{}/*", registry.address);
    let Some(lab) = Lab::open(&["--allow-images", &allowed]).await else { return };
    let by_tag = format!("{}/tool:1", registry.address);
    let by_digest = format!("{}/tool@{}", registry.address, registry.digest);
    for image in [&by_tag, &by_digest] {
        let command = "echo \"$FROM, ${BASH_VERSION:-no bash}\"; read -r where < /where; \
                       echo \"$where\"; exit 3";
        let spec = JobSpec { image: Some(image.clone()), ..JobSpec::new(command) };
        let seen = lab.run_spec(spec).await;
        assert_eq!(seen.outcome, Outcome::Exited { code: 3 }, "{}{}", seen.notes(), seen.stderr());
        assert_eq!(seen.stdout(), format!("registry, no bash\n{}\n", registry.address));
        assert!(seen.notes().contains(&registry.digest), "{}", seen.notes());
    }
    let engine = lab.executor.keeper.engine.docker().clone();
    // An image with a container would only lose its tags.
    lab.close().await;
    for image in [by_tag, by_digest] {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        // Removing the first may remove the second as well.
        let _ = engine.remove_image(&image, Some(options), None).await;
    }
}

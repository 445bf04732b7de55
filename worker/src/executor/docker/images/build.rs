//! One build through the engine's own (classic) builder, which every engine has.

use std::collections::HashMap;

use bollard::{
    Docker, body_full,
    errors::Error,
    query_parameters::{BuildImageOptions, BuildImageOptionsBuilder, BuilderVersion},
};
use futures::StreamExt as _;

use super::{
    Cache, ImageError, LABEL,
    journal::Journal,
    recipe::{CA_BUNDLE, Recipe},
    transcript::{Line, Transcript},
};

/// Where Debian's family and Red Hat's keep what they trust.
const HOST_BUNDLES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Builds `recipe` and tags it with its reference. When this future is dropped,
/// the engine ends the build and removes its container.
pub(super) async fn build(
    docker: &Docker,
    recipe: &Recipe,
    base: Option<&str>,
    cache: Cache,
    journal: &Journal,
) -> Result<(), ImageError> {
    let name = recipe.name();
    let ca_bundle = if recipe.wants_ca_bundle() { Some(host_bundle(name).await?) } else { None };
    let context = recipe.context(ca_bundle.as_deref()).map_err(|err| {
        ImageError::because(format!("the folder of image {name} cannot be packed: {err}"))
    })?;
    journal.say(format!("image {name}: building {}", recipe.reference()));

    let mut transcript = Transcript::default();
    let context = Some(body_full(context.into()));
    let mut events = docker.build_image(options(recipe, base, cache), None, context);
    while let Some(event) = events.next().await {
        match event {
            Ok(info) => {
                // A pulled FROM speaks in `status`, the steps in `stream`.
                if let Some(status) = info.status {
                    journal.mention(|| format!("image {name}: {status}"));
                }
                for line in transcript.read(&info.stream.unwrap_or_default()) {
                    match line {
                        Line::Step(step) => journal.say(format!("image {name}: step {step}")),
                        Line::Printed(text) => journal.mention(|| format!("image {name}: {text}")),
                    }
                }
            }
            Err(err) => return Err(failed(name, &err, &transcript)),
        }
    }
    journal.say(format!("image {name}: built"));
    Ok(())
}

fn options(recipe: &Recipe, base: Option<&str>, cache: Cache) -> BuildImageOptions {
    let arguments: HashMap<&str, &str> = base.map(|base| ("BASE", base)).into_iter().collect();
    BuildImageOptionsBuilder::new()
        .t(&recipe.reference())
        .buildargs(&arguments)
        .labels(&HashMap::from([(LABEL, recipe.name())]))
        .nocache(cache == Cache::Ignore)
        .rm(true)
        .forcerm(true)
        .version(BuilderVersion::BuilderV1)
        .build()
}

fn failed(name: &str, err: &Error, transcript: &Transcript) -> ImageError {
    let why = match err {
        // What the builder says of a step, or the engine of the Dockerfile.
        Error::DockerStreamError { error: message }
        | Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        err => err.to_string(),
    };
    let tail = transcript.tail();
    ImageError::because(format!("the build of image {name} failed: {why}{tail}"))
}

async fn host_bundle(name: &str) -> Result<Vec<u8>, ImageError> {
    for path in HOST_BUNDLES {
        if let Ok(bytes) = tokio::fs::read(path).await {
            return Ok(bytes);
        }
    }
    Err(ImageError::because(format!(
        "image {name} wants {CA_BUNDLE}, but the worker's machine has no {}; \
         install ca-certificates there, or put the file into the image's folder",
        HOST_BUNDLES[0]
    )))
}

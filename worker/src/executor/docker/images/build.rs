//! Builds one image with the engine's classic builder, which every engine has.

use std::{collections::HashMap, time::Duration};

use bollard::{
    Docker, body_full,
    errors::Error,
    query_parameters::{BuildImageOptions, BuildImageOptionsBuilder, BuilderVersion},
};
use futures::StreamExt as _;
use orchestra_contracts::Span;
use tokio::time::{Instant, timeout};

use super::{
    Cache, ImageError, LABEL,
    journal::Journal,
    recipe::{CA_BUNDLE, Recipe},
    transcript::{Line, Transcript},
    verdict,
};
use crate::config::ImagesConfig;

/// Trusted certificates on Debian's family and on Red Hat's.
const HOST_BUNDLES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Builds `recipe` and tags the image with the recipe's reference. When this future is dropped, the
/// engine ends the build and removes its container.
pub(super) async fn build(
    docker: &Docker,
    recipe: &Recipe,
    base: Option<&str>,
    cache: Cache,
    rules: &ImagesConfig,
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
    let (began, total, idle) = (Instant::now(), rules.build_timeout.0, rules.build_idle.0);
    loop {
        let left = total.saturating_sub(began.elapsed());
        let event = match timeout(left.min(idle), events.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => break,
            Err(_) if left <= idle => {
                return Err(given_up(
                    name,
                    total,
                    "in all",
                    "ORCHESTRA_BUILD_TIMEOUT",
                    &transcript,
                ));
            }
            Err(_) if transcript.is_at_work() => {
                return Err(given_up(
                    name,
                    idle,
                    "of silence",
                    "ORCHESTRA_BUILD_IDLE",
                    &transcript,
                ));
            }
            Err(_) => return Err(unanswered(name, idle)),
        };
        match event {
            Ok(info) => {
                // A pulled FROM reports in `status`, the steps report in `stream`.
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
        // The builder's message about a step, or the engine's about the Dockerfile.
        Error::DockerStreamError { error: message }
        | Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        err => err.to_string(),
    };
    let tail = transcript.tail();
    let reason = format!("the build of image {name} failed: {why}{tail}");
    if verdict::may_pass(err, &reason) {
        ImageError::because(reason)
    } else {
        ImageError::Broken { reason }
    }
}

/// `Broken`, because the next try would take as long.
fn given_up(
    name: &str,
    after: Duration,
    of: &str,
    setting: &str,
    transcript: &Transcript,
) -> ImageError {
    let (after, tail) = (Span(after), transcript.tail());
    ImageError::Broken {
        reason: format!(
            "the build of image {name} was given up after {after} {of}; \
             the worker's {setting} allows no more{tail}"
        ),
    }
}

/// Silence before the first step, or while the base is pulled, is not the Dockerfile's fault.
fn unanswered(name: &str, idle: Duration) -> ImageError {
    let idle = Span(idle);
    ImageError::because(format!("the engine said nothing of the build of image {name} for {idle}"))
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

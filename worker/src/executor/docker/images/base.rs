//! The image that job images start from (`ARG BASE`): Debian bookworm, from wherever it is
//! available.

use std::time::Duration;

use bollard::{Docker, query_parameters::CreateImageOptionsBuilder};
use futures::StreamExt as _;
use tokio::time::timeout;

use super::{ImageError, bootstrap, find, journal::Journal};

/// Its reference in a registry.
const FROM_REGISTRY: &str = "debian:bookworm-slim";

/// The image made from Debian packages when no registry answers. An operator's own image with this
/// tag is used instead.
const MADE_HERE: &str = "orchestra/base:bookworm";

/// A registry that has not answered within this time counts as unreachable. The engine itself would
/// try for more than a minute on a network that drops packets.
const FIRST_ANSWER: Duration = Duration::from_secs(20);

/// The longest silence in the middle of a download.
const SILENCE: Duration = Duration::from_mins(1);

/// Makes sure that the engine has a base image, and returns its reference. An existing image is
/// used as it is; to get a newer one, remove it from the engine.
pub(super) async fn ensure(docker: &Docker, journal: &Journal) -> Result<&'static str, ImageError> {
    for reference in [FROM_REGISTRY, MADE_HERE] {
        if find(docker, reference).await?.is_some() {
            return Ok(reference);
        }
    }
    journal.say(format!("base image: pulling {FROM_REGISTRY}"));
    let Err(why) = pull(docker, journal).await else { return Ok(FROM_REGISTRY) };
    journal.say(format!("base image: no registry has it for us ({why})"));
    journal.say("base image: making it from Debian packages instead, which takes half a minute");
    bootstrap::make(docker, MADE_HERE, journal).await?;
    Ok(MADE_HERE)
}

async fn pull(docker: &Docker, journal: &Journal) -> Result<(), String> {
    let options = CreateImageOptionsBuilder::new().from_image(FROM_REGISTRY).build();
    let mut events = docker.create_image(Some(options), None, None);
    let mut patience = FIRST_ANSWER;
    loop {
        match timeout(patience, events.next()).await {
            Err(_) => return Err(format!("no word for {} seconds", patience.as_secs())),
            Ok(None) => return Ok(()),
            Ok(Some(Err(err))) => return Err(err.to_string()),
            Ok(Some(Ok(event))) => {
                if let Some(status) = event.status {
                    journal.mention(|| format!("base image: {status}"));
                }
            }
        }
        patience = SILENCE;
    }
}

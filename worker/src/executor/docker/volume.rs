//! The volume that holds the sandbox program. It is made once per engine and program version, and
//! mounted read-only into every job container.
//!
//! The program is uploaded into a container that is created and never started. That also works with
//! remote engines and with a worker that runs in a container. Only one worker at a time can hold
//! the container's name, so workers that start together do not overwrite each other's upload.

use std::{io::Read, time::Duration};

use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountType, MountVolumeOptions, VolumeCreateRequest,
};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{
    container::{Keeper, ROLE_LABEL},
    engine::{Engine, EngineError},
};

/// Built by `build.rs`.
static SANDBOX: &[u8] = include_bytes!(env!("ORCHESTRA_SANDBOX"));

const FOLDER: &str = "/orchestra";
const FILE: &str = "orchestra-sandbox";
/// The program's path in every job container.
pub(super) const PROGRAM: &str = "/orchestra/orchestra-sandbox";

/// Another worker's upload takes a fraction of a second. One that takes longer than this was cut
/// off, and its container is in the way.
const PATIENCE: Duration = Duration::from_secs(10);

/// The volume on one engine.
pub(super) struct Volume {
    name: String,
    /// Whether its content has been verified. The lock is held during verification, so that all
    /// others wait for the result.
    verified: Mutex<bool>,
}

/// The mount of the volume `name` in a container.
pub(super) fn mount(name: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(name.to_owned()),
        target: Some(FOLDER.to_owned()),
        read_only: Some(read_only),
        volume_options: Some(MountVolumeOptions {
            // Do not copy the image's files at this path into the volume.
            no_copy: Some(true),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

impl Volume {
    pub(super) fn new() -> Self {
        let hash = hex::encode(Sha256::digest(SANDBOX));
        Self::named(format!("orchestra-sandbox-{}", &hash[..8]))
    }

    pub(super) fn named(name: String) -> Self {
        Self { name, verified: Mutex::new(false) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns when the program is in the volume. `image` may be any image of the engine.
    pub(super) async fn ensure(&self, keeper: &Keeper, image: &str) -> Result<(), EngineError> {
        let mut verified = self.verified.lock().await;
        if !*verified {
            self.fill(keeper, image).await?;
            *verified = true;
        }
        Ok(())
    }

    /// Marks the volume as unverified, because it seems to be gone. The next use checks it again.
    pub(super) async fn distrust(&self) {
        *self.verified.lock().await = false;
    }

    async fn fill(&self, keeper: &Keeper, image: &str) -> Result<(), EngineError> {
        let engine = &keeper.engine;
        let labels = [(ROLE_LABEL.to_owned(), "sandbox".to_owned())].into();
        engine
            .create_volume(VolumeCreateRequest {
                name: Some(self.name.clone()),
                labels: Some(labels),
                ..VolumeCreateRequest::default()
            })
            .await?;
        self.create_helper(keeper, image).await?;
        // Only now: before the creation, a container of that name belongs to another worker.
        let helper = keeper.container(self.name.clone());
        let result = self.verify_or_upload(engine).await;
        helper.remove().await;
        result
    }

    /// Waits while another worker has a container of this name.
    async fn create_helper(&self, keeper: &Keeper, image: &str) -> Result<(), EngineError> {
        let engine = &keeper.engine;
        let give_up = Instant::now() + PATIENCE;
        loop {
            match engine.create(&self.name, self.helper(keeper, image)).await {
                Err(EngineError::Conflict(_)) if Instant::now() < give_up => {
                    sleep(Duration::from_millis(50)).await;
                }
                // The container may exist nevertheless. Then the next try finds it in the way.
                Err(error) if error.is_absence() && Instant::now() < give_up => (),
                Err(EngineError::Conflict(_)) => engine.remove(&self.name).await?,
                created => return created.map(drop),
            }
        }
    }

    fn helper(&self, keeper: &Keeper, image: &str) -> ContainerCreateBody {
        ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec![PROGRAM.to_owned()]),
            labels: Some(keeper.labels("helper")),
            network_disabled: Some(true),
            host_config: Some(HostConfig {
                mounts: Some(vec![mount(&self.name, false)]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    async fn verify_or_upload(&self, engine: &Engine) -> Result<(), EngineError> {
        if self.is_right(engine).await? {
            return Ok(());
        }
        engine.upload(&self.name, FOLDER, archive()).await?;
        if self.is_right(engine).await? {
            Ok(())
        } else {
            let name = &self.name;
            Err(EngineError::Refused(format!(
                "the volume {name} does not hold what was uploaded; remove it: docker volume rm {name}"
            )))
        }
    }

    async fn is_right(&self, engine: &Engine) -> Result<bool, EngineError> {
        match engine.download(&self.name, PROGRAM).await {
            Ok(archive) => Ok(first_file(&archive).is_some_and(|file| file == SANDBOX)),
            Err(EngineError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn archive() -> Bytes {
    let mut header = tar::Header::new_gnu();
    header.set_size(SANDBOX.len() as u64);
    header.set_mode(0o555);
    let mut builder = tar::Builder::new(Vec::new());
    let written = builder
        .append_data(&mut header, FILE, SANDBOX)
        .and_then(|()| builder.into_inner())
        .expect("a Vec takes any bytes");
    written.into()
}

/// The content of an archive's first entry. `None` unless the entry is executable.
fn first_file(archive: &[u8]) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive.entries().ok()?.next()?.ok()?;
    let mut content = Vec::new();
    entry.read_to_end(&mut content).ok()?;
    (entry.header().mode().ok()? & 0o111 == 0o111).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_a_static_executable() {
        assert_eq!(&SANDBOX[..4], b"\x7fELF");
        let interpreter = b"/ld-linux";
        let dynamic = SANDBOX.windows(interpreter.len()).any(|bytes| bytes == interpreter);
        assert!(!dynamic, "it asks for a dynamic loader, which a job's image need not have");
    }

    #[test]
    fn what_is_packed_is_recognised() {
        assert_eq!(first_file(&archive()).as_deref(), Some(SANDBOX));
    }
}

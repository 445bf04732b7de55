//! The folder of a job with a private workspace: an anonymous volume that the engine creates with
//! the job's container and removes with it, on every path. It is on the engine's machine only, and
//! the worker never walks what a job has left in it.
//!
//! The engine makes it for root. To give it to the job's user, the worker uploads an archive with
//! nothing but the folder itself into a helper container that mounts the same volume and is never
//! started. The job's own container takes no upload, because its root is read-only.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HostConfig, Mount, MountType, MountVolumeOptions,
};
use bytes::Bytes;

use super::{
    container::{Container, Keeper},
    create::WORKDIR,
    engine::EngineError,
};
use crate::config::JobUser;

/// Where the helper mounts the folder, and the folder's name there.
const ABOVE: &str = "/above";
const FOLDER: &str = "work";

/// Only the job's own user has access.
const MODE: u32 = 0o700;

/// The mount of the folder in a job's container. `labels` identify the attempt, should the volume
/// ever be left behind.
pub(super) fn mount(labels: HashMap<String, String>) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        target: Some(WORKDIR.to_owned()),
        read_only: Some(false),
        volume_options: Some(MountVolumeOptions {
            // Do not copy the image's files at this path into the folder: it starts empty.
            no_copy: Some(true),
            labels: Some(labels),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

/// Gives the folder of a container that was created, but not started, to this user.
pub(super) async fn give(
    keeper: &Keeper,
    job: &Container,
    user: JobUser,
    image: &str,
) -> Result<(), EngineError> {
    let volume = volume_of(&keeper.engine.inspect(job.name()).await?)?;
    let helper = keeper.container(format!("{}-folder", job.name()));
    let request = helper_request(keeper.labels("helper"), volume, image);
    Box::pin(keeper.engine.create_with_retries(helper.name(), request)).await?;
    let given = keeper.engine.upload(helper.name(), ABOVE, archive(user)).await;
    // This request names the volume, so it survives the helper.
    helper.remove().await;
    given
}

fn volume_of(container: &ContainerInspectResponse) -> Result<String, EngineError> {
    let mounts = container.mounts.iter().flatten();
    let mut ours = mounts.filter(|mount| mount.destination.as_deref() == Some(WORKDIR));
    ours.next().and_then(|mount| mount.name.clone()).ok_or_else(|| {
        EngineError::Refused("the engine made no volume for the job's own folder".to_owned())
    })
}

fn helper_request(
    labels: HashMap<String, String>,
    volume: String,
    image: &str,
) -> ContainerCreateBody {
    let mount = Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume),
        target: Some(format!("{ABOVE}/{FOLDER}")),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec!["/never/started".to_owned()]),
        labels: Some(labels),
        network_disabled: Some(true),
        host_config: Some(HostConfig { mounts: Some(vec![mount]), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    }
}

/// The folder itself, with its owner.
fn archive(user: JobUser) -> Bytes {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(MODE);
    header.set_uid(u64::from(user.uid));
    header.set_gid(u64::from(user.gid));
    let mut builder = tar::Builder::new(Vec::new());
    let written = builder
        .append_data(&mut header, format!("{FOLDER}/"), std::io::empty())
        .and_then(|()| builder.into_inner())
        .expect("a Vec takes any bytes");
    written.into()
}

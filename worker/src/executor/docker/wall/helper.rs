//! Helper containers: they run no job, and each prints a result.

use std::{collections::BTreeSet, time::Duration};

use bollard::models::{ContainerCreateBody, HostConfig};
use futures::StreamExt;
use ipnet::Ipv4Net;
use tokio::time::timeout;

use super::{
    super::{
        container::{Container, Keeper},
        engine::{Attached, EngineError},
        session::StartError,
        volume,
    },
    no_wall,
};

/// Numeric, because an image need not define any names.
const NOBODY: &str = "65534:65534";
/// Time limit for a helper on a busy engine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a helper is made from: the sandbox program, in any image.
#[derive(Clone, Copy)]
pub(in super::super) struct Tools<'a> {
    pub(in super::super) volume: &'a str,
    pub(in super::super) image: &'a str,
}

/// Runs a helper to its end, removes it, and returns its output.
pub(super) async fn run(
    keeper: &Keeper,
    name: String,
    body: ContainerCreateBody,
) -> Result<String, StartError> {
    let helper = keeper.container(name);
    let request = ContainerCreateBody { labels: Some(keeper.labels("helper")), ..body };
    Box::pin(keeper.engine.create_with_retries(helper.name(), request)).await?;
    let said = timeout(PATIENCE, hear(&helper)).await;
    helper.remove().await;
    Ok(said.map_err(|_| no_wall("it took too long"))??)
}

async fn hear(helper: &Container) -> Result<String, EngineError> {
    let engine = helper.engine();
    let Attached { mut output, input: _input } = engine.attach(helper.name()).await?;
    engine.with_retries(|| engine.start(helper.name())).await?;
    let mut said = String::new();
    while let Some(Ok(piece)) = output.next().await {
        said.push_str(&String::from_utf8_lossy(&piece.into_bytes()));
    }
    Ok(said)
}

/// The purpose of a helper. Every helper runs only the sandbox program and sees none of a job's
/// files. It is removed before the job begins.
pub(super) enum Helper<'a> {
    /// Adds the routes. This is the only container with a capability.
    Wall { job: &'a str, networks: &'a BTreeSet<Ipv4Net> },
    /// Reports the addresses of the engine's machine. This is the only container on the machine's
    /// network.
    Addresses,
}

impl Helper<'_> {
    pub(super) fn body(&self, tools: Tools<'_>) -> ContainerCreateBody {
        let (user, cmd, place) = match self {
            Self::Wall { job, networks } => {
                let networks = networks.iter().map(Ipv4Net::to_string);
                let cmd = ["--wall".to_owned()].into_iter().chain(networks).collect();
                let network_mode = Some(format!("container:{job}"));
                let cap_add = Some(vec!["NET_ADMIN".to_owned()]);
                ("0:0", cmd, HostConfig { network_mode, cap_add, ..HostConfig::default() })
            }
            Self::Addresses => {
                let network_mode = Some("host".to_owned());
                // The only way to the machine's network on an engine that remaps users.
                let userns_mode = Some("host".to_owned());
                let place = HostConfig { network_mode, userns_mode, ..HostConfig::default() };
                (NOBODY, vec!["--addresses".to_owned()], place)
            }
        };
        ContainerCreateBody {
            image: Some(tools.image.to_owned()),
            user: Some(user.to_owned()),
            env: Some(Vec::new()),
            entrypoint: Some(vec![volume::PROGRAM.to_owned()]),
            cmd: Some(cmd),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            host_config: Some(HostConfig {
                cap_drop: Some(vec!["ALL".to_owned()]),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                readonly_rootfs: Some(true),
                mounts: Some(vec![volume::mount(tools.volume, true)]),
                ..place
            }),
            ..ContainerCreateBody::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(helper: &Helper<'_>) -> Value {
        serde_json::to_value(helper.body(Tools { volume: "v", image: "i" })).unwrap()
    }

    #[test]
    fn the_helper_has_one_capability_and_nothing_of_the_job_but_its_network() {
        let networks = ["169.254.0.0/16".parse().unwrap()].into();
        let body = body(&Helper::Wall { job: "orchestra-7-1-a", networks: &networks });
        assert_eq!(body["Cmd"], json!(["--wall", "169.254.0.0/16"]));
        let host = &body["HostConfig"];
        assert_eq!(host["NetworkMode"], "container:orchestra-7-1-a");
        assert_eq!((&host["CapDrop"], &host["CapAdd"]), (&json!(["ALL"]), &json!(["NET_ADMIN"])));
        holds_in(host);
    }

    #[test]
    fn who_looks_at_the_machines_addresses_can_do_nothing_else() {
        let body = body(&Helper::Addresses);
        assert_eq!((&body["User"], &body["Cmd"]), (&json!(NOBODY), &json!(["--addresses"])));
        let host = &body["HostConfig"];
        assert_eq!((&host["NetworkMode"], &host["CapDrop"]), (&json!("host"), &json!(["ALL"])));
        assert_eq!(host.get("CapAdd"), None);
        holds_in(host);
    }

    fn holds_in(host: &Value) {
        assert_eq!(host["ReadonlyRootfs"], true);
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
        assert_eq!(host["Mounts"].as_array().unwrap().len(), 1);
        for wider in ["Privileged", "Binds", "PidMode", "Devices", "VolumesFrom"] {
            assert_eq!(host.get(wider), None, "{wider}");
        }
    }
}

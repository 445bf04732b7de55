//! The container engine without Orchestra: `docker run --rm`, and the minimal sequence of API
//! calls. Both copy every flag from a container that our worker made.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    models::{ContainerConfig, ContainerCreateBody, HostConfig, Mount, MountType},
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, WaitContainerOptions,
    },
};
use futures::StreamExt;
use tokio::{process::Command, time::sleep};

use crate::{error::BenchError, stack::Stack};

/// The configuration of a container that our worker made.
#[derive(Clone, Debug)]
pub(crate) struct Flags {
    config: ContainerConfig,
    host: HostConfig,
}

/// How a container without a network is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// With `--network none`, as people do.
    None,
    /// As our workers do, which skips the engine's network set-up.
    Disabled,
}

#[derive(Clone, Debug)]
pub(crate) struct Engine {
    docker: Docker,
    address: String,
}

impl Engine {
    pub(crate) async fn connect(address: &str) -> Result<Self, BenchError> {
        let docker = Docker::connect_with_host(address)?.negotiate_version().await?;
        Ok(Self { docker, address: address.to_owned() })
    }

    pub(crate) async fn version(&self) -> Result<String, BenchError> {
        Ok(self.docker.version().await?.version.unwrap_or_default())
    }

    /// The flags of a warm sandbox of the stack's worker, with another working folder.
    pub(crate) async fn flags_of(&self, stack: &Stack, files: &Path) -> Result<Flags, BenchError> {
        let labels = vec![format!("orchestra.worker={}", stack.name)];
        let filters = [("label".to_owned(), labels)].into();
        for _ in 0..600 {
            let options = ListContainersOptionsBuilder::new().filters(&filters).build();
            let found = self.docker.list_containers(Some(options)).await?;
            let warm = |name: &String| name.starts_with("/orchestra-warm-");
            let waits = |names: &Option<Vec<String>>| names.iter().flatten().any(warm);
            if let Some(id) = found.into_iter().find(|it| waits(&it.names)).and_then(|it| it.id) {
                let found = self.docker.inspect_container(&id, None).await?;
                let (Some(config), Some(mut host)) = (found.config, found.host_config) else {
                    break;
                };
                for mount in host.mounts.iter_mut().flatten() {
                    if mount.typ == Some(MountType::BIND) {
                        mount.source = Some(files.display().to_string());
                    }
                }
                return Ok(Flags { config, host });
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(BenchError::unexpected("no sandbox waits at the worker"))
    }

    /// Runs a container: create, attach, start, read to the end, wait for the exit code. The time
    /// does not include the removal that follows.
    pub(crate) async fn run(
        &self,
        flags: &Flags,
        network: Network,
        command: &str,
    ) -> Result<Duration, BenchError> {
        let started = Instant::now();
        let body = flags.request(network, command);
        let options = CreateContainerOptionsBuilder::new().build();
        let id = self.docker.create_container(Some(options), body).await?.id;
        let ended = self.finish(&id).await;
        let took = started.elapsed();
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        self.docker.remove_container(&id, Some(options)).await?;
        ended.map(|()| took)
    }

    async fn finish(&self, id: &str) -> Result<(), BenchError> {
        let options = AttachContainerOptionsBuilder::new();
        let options = options.stream(true).stdout(true).stderr(true).build();
        let mut output = self.docker.attach_container(id, Some(options)).await?.output;
        self.docker.start_container(id, None).await?;
        while let Some(piece) = output.next().await {
            piece?;
        }
        let waited = self.docker.wait_container(id, None::<WaitContainerOptions>).next().await;
        match waited {
            Some(Ok(_)) | None => Ok(()),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// A `docker run --rm` command with the same flags.
    pub(crate) fn cli(&self, flags: &Flags, command: &str) -> Command {
        let mut cli = Command::new("docker");
        cli.args(["--host", &self.address, "run"]).args(flags.arguments());
        cli.args(["bash", "-c", command]).kill_on_drop(true);
        cli
    }

    /// Runs that command until the container is removed.
    pub(crate) async fn run_by_cli(
        &self,
        flags: &Flags,
        command: &str,
    ) -> Result<Duration, BenchError> {
        let started = Instant::now();
        let output = self.cli(flags, command).output().await;
        let output = output.map_err(BenchError::io("the docker command"))?;
        if output.status.success() {
            return Ok(started.elapsed());
        }
        Err(BenchError::unexpected(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

impl Flags {
    fn request(&self, network: Network, command: &str) -> ContainerCreateBody {
        let config = self.config.clone();
        ContainerCreateBody {
            image: config.image,
            hostname: config.hostname,
            user: config.user,
            working_dir: config.working_dir,
            healthcheck: config.healthcheck,
            env: Some(vec!["LANG=C.UTF-8".to_owned()]),
            entrypoint: Some(Vec::new()),
            cmd: Some(["bash", "-c", command].map(str::to_owned).into()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            network_disabled: Some(network == Network::Disabled),
            host_config: Some(self.host.clone()),
            ..ContainerCreateBody::default()
        }
    }

    /// The flags as command-line arguments, with the image last.
    fn arguments(&self) -> Vec<String> {
        let (config, host) = (&self.config, &self.host);
        let mut all: Vec<String> = "--rm --pull never --read-only --no-healthcheck --network none \
             --cap-drop ALL --security-opt no-new-privileges --ipc private --cgroupns private \
             --env LANG=C.UTF-8"
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let mut say = |name: &str, value: String| all.extend([format!("--{name}"), value]);
        say("user", config.user.clone().unwrap_or_default());
        say("workdir", config.working_dir.clone().unwrap_or_default());
        say("hostname", config.hostname.clone().unwrap_or_default());
        say("memory", host.memory.unwrap_or_default().to_string());
        say("memory-swap", host.memory_swap.unwrap_or_default().to_string());
        say("cpus", format!("{}", host.nano_cpus.unwrap_or_default() as f64 / 1e9));
        say("pids-limit", host.pids_limit.unwrap_or_default().to_string());
        say("oom-score-adj", host.oom_score_adj.unwrap_or_default().to_string());
        say("shm-size", host.shm_size.unwrap_or_default().to_string());
        for limit in host.ulimits.iter().flatten() {
            let most = limit.hard.unwrap_or_default();
            say("ulimit", format!("{}={most}:{most}", limit.name.as_deref().unwrap_or_default()));
        }
        if let Some(log) = &host.log_config {
            say("log-driver", log.typ.clone().unwrap_or_default());
            for (name, value) in log.config.iter().flatten() {
                say("log-opt", format!("{name}={value}"));
            }
        }
        for (place, options) in host.tmpfs.iter().flatten() {
            say("tmpfs", format!("{place}:{options}"));
        }
        for mount in host.mounts.iter().flatten() {
            say("mount", mount_argument(mount));
        }
        all.push(config.image.clone().unwrap_or_default());
        all
    }
}

fn mount_argument(mount: &Mount) -> String {
    let kind = if mount.typ == Some(MountType::BIND) { "bind" } else { "volume" };
    let source = mount.source.as_deref().unwrap_or_default();
    let target = mount.target.as_deref().unwrap_or_default();
    let read_only = if mount.read_only == Some(true) { ",readonly" } else { "" };
    format!("type={kind},source={source},target={target}{read_only}")
}

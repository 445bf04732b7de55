//! The container engine's API: one method per call, each with its own time limit. `error` describes
//! failures in words that help, `health` tracks whether the engine answers at all, and `retry`
//! repeats calls that got no answer.

mod error;
mod health;
mod retry;

use std::{collections::BTreeMap, path::Path, pin::Pin, sync::Arc, time::Duration};

use bollard::{
    Docker,
    container::LogOutput,
    errors::Error as BollardError,
    models::{
        ContainerCreateBody, ContainerInspectResponse, ContainerSummary, ContainerUpdateBody,
        ImageInspect, Network, NetworkCreateRequest, VolumeCreateRequest,
    },
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder,
        DownloadFromContainerOptionsBuilder, ListContainersOptionsBuilder,
        ListVolumesOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
        RemoveVolumeOptions, RenameContainerOptionsBuilder, UploadToContainerOptionsBuilder,
    },
};
use bytes::{Bytes, BytesMut};
use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use orchestra_contracts::worker::Calls;
use tokio::{
    io::AsyncWrite,
    time::{Instant, timeout},
};

use self::error::explain;
pub(crate) use self::{error::EngineError, health::Health};
use super::stats::Counts;
use crate::config::Limits;

/// Time limits for engine calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallLimits {
    /// For calls that the engine answers from memory.
    pub(super) quick: Duration,
    /// For making, starting and removing a container on a slow disk beside many others.
    pub(super) slow: Duration,
}

pub(super) const LIMITS: CallLimits =
    CallLimits { quick: Duration::from_secs(10), slow: Duration::from_mins(1) };

/// The output of a container.
pub(super) type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, BollardError>> + Send>>;
/// The input of a container.
pub(super) type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// A container's attached standard streams.
pub(super) struct Attached {
    pub(super) output: Output,
    pub(super) input: Input,
}

/// A connection to one engine. Clones share it.
#[derive(Clone)]
pub(crate) struct Engine {
    docker: Docker,
    address: String,
    version: String,
    architecture: String,
    pub(super) limits: CallLimits,
    counts: Arc<Counts>,
}

impl Engine {
    /// Connects to `address` (`unix:///...` or `tcp://...`) and negotiates the API version.
    pub(crate) async fn connect(address: &str) -> Result<Self, EngineError> {
        let CallLimits { quick, slow } = LIMITS;
        let error = |error| explain(address, quick, error);
        let docker = Docker::connect_with_host(address).map_err(error)?.with_timeout(slow);
        let agree = async { docker.negotiate_version().await };
        let docker = limited("answer", quick, address, agree).await?;
        let version = limited("tell its version", quick, address, docker.version()).await?;
        let name = version.platform.map_or_else(|| "Engine".to_owned(), |platform| platform.name);
        let name = if name.is_empty() { "Docker Engine".to_owned() } else { name };
        Ok(Self {
            docker,
            address: address.to_owned(),
            version: format!("{name} {}", version.version.unwrap_or_default()),
            architecture: version.arch.unwrap_or_default(),
            limits: LIMITS,
            counts: Arc::default(),
        })
    }

    /// The engine's name and version, for people.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The path of the engine's socket, if it is reached through one.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.address.strip_prefix("unix://").map(Path::new)
    }

    /// The engine's architecture by Rust's names. The engine uses Go's.
    pub(crate) fn architecture(&self) -> &str {
        match self.architecture.as_str() {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            "386" => "x86",
            "ppc64le" => "powerpc64",
            other => other,
        }
    }

    /// Counts of the calls so far, without those for builds and pulls.
    pub(super) fn counted(&self) -> BTreeMap<String, Calls> {
        self.counts.all()
    }

    /// The client for image calls, which set their own time limits.
    pub(crate) fn docker(&self) -> Docker {
        self.docker.clone()
    }

    pub(super) async fn ping(&self) -> Result<(), EngineError> {
        self.call("answer", self.limits.quick, self.docker.ping()).await.map(drop)
    }

    /// Creates a container and returns its id.
    pub(super) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let create = self.docker.create_container(Some(options), body);
        Ok(self.call("create a container", self.limits.slow, create).await?.id)
    }

    /// Attaches to all standard streams of a container, from its start on.
    pub(super) async fn attach(&self, name: &str) -> Result<Attached, EngineError> {
        let options = AttachContainerOptionsBuilder::new();
        let options = options.stream(true).stdin(true).stdout(true).stderr(true).build();
        let attach = self.docker.attach_container(name, Some(options));
        let attached = self.call("attach to a container", self.limits.quick, attach).await?;
        Ok(Attached { output: attached.output, input: attached.input })
    }

    /// Attaches only to the input of a container that already runs.
    pub(super) async fn attach_input(&self, name: &str) -> Result<Input, EngineError> {
        let options = AttachContainerOptionsBuilder::new().stream(true).stdin(true).build();
        let attach = self.docker.attach_container(name, Some(options));
        Ok(self.call("attach to a container", self.limits.quick, attach).await?.input)
    }

    /// All output of the container so far, and everything that follows.
    pub(super) fn follow_log(&self, name: &str) -> Output {
        let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
        Box::pin(self.docker.logs(name, Some(options)))
    }

    /// The container's standard output so far.
    pub(super) fn log(
        &self,
        name: &str,
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + Unpin + 'static + use<> {
        let options = LogsOptionsBuilder::new().stdout(true).build();
        let pieces = self.docker.logs(name, Some(options)).map_ok(LogOutput::into_bytes);
        self.each_limited("give a log", self.limits.quick, pieces.boxed())
    }

    /// Fails with [`EngineError::NotFound`] if another client was faster.
    pub(super) async fn rename(&self, name: &str, new: &str) -> Result<(), EngineError> {
        let options = RenameContainerOptionsBuilder::new().name(new).build();
        self.call(
            "rename a container",
            self.limits.quick,
            self.docker.rename_container(name, options),
        )
        .await
    }

    /// Changes the limits of a running container. The size of its `/tmp` stays.
    pub(super) async fn limit(&self, name: &str, limits: &Limits) -> Result<(), EngineError> {
        let memory = i64::try_from(limits.memory.0).unwrap_or(i64::MAX);
        let body = ContainerUpdateBody {
            memory: Some(memory),
            // Equal to `memory`, so there is no swap beyond it.
            memory_swap: Some(memory),
            nano_cpus: Some((limits.cpus * 1e9) as i64),
            pids_limit: Some(i64::from(limits.pids)),
            ..ContainerUpdateBody::default()
        };
        let update = self.docker.update_container(name, body);
        self.call("change a container", self.limits.slow, update).await
    }

    pub(super) async fn start(&self, name: &str) -> Result<(), EngineError> {
        self.call("start a container", self.limits.slow, self.docker.start_container(name, None))
            .await
    }

    pub(super) async fn inspect(
        &self,
        name: &str,
    ) -> Result<ContainerInspectResponse, EngineError> {
        let inspect = self.docker.inspect_container(name, None);
        self.call("describe a container", self.limits.quick, inspect).await
    }

    /// Removes a container with its anonymous volumes, and kills it first if it runs.
    pub(super) async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let remove = self.docker.remove_container(name, Some(options));
        self.call("remove a container", self.limits.slow, remove).await
    }

    /// All containers with all of these labels (`name=value`), running or not.
    pub(super) async fn labelled(
        &self,
        labels: &[String],
    ) -> Result<Vec<ContainerSummary>, EngineError> {
        let filters = [("label", labels.to_vec())].into();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        self.call("list containers", self.limits.slow, self.docker.list_containers(Some(options)))
            .await
    }

    pub(super) async fn image(&self, name: &str) -> Result<ImageInspect, EngineError> {
        self.call("describe an image", self.limits.quick, self.docker.inspect_image(name)).await
    }

    /// Creates a volume, or leaves an existing one as it is.
    pub(super) async fn create_volume(
        &self,
        volume: VolumeCreateRequest,
    ) -> Result<(), EngineError> {
        self.call("create a volume", self.limits.quick, self.docker.create_volume(volume))
            .await
            .map(drop)
    }

    /// The names of the volumes with this label (`name=value`) that no container uses.
    pub(super) async fn unused_volumes(&self, label: &str) -> Result<Vec<String>, EngineError> {
        let filters = [("label", vec![label.to_owned()]), ("dangling", vec!["true".to_owned()])];
        let filters = std::collections::HashMap::from(filters);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let list = self.docker.list_volumes(Some(options));
        let found = self.call("list volumes", self.limits.slow, list).await?;
        Ok(found.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
    }

    pub(super) async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveVolumeOptions::default();
        let remove = self.docker.remove_volume(name, Some(options));
        self.call("remove a volume", self.limits.quick, remove).await
    }

    pub(super) async fn networks(&self) -> Result<Vec<Network>, EngineError> {
        self.call("list networks", self.limits.quick, self.docker.list_networks(None)).await
    }

    /// Creates a network and returns its id.
    pub(super) async fn create_network(
        &self,
        network: NetworkCreateRequest,
    ) -> Result<String, EngineError> {
        let create = self.docker.create_network(network);
        Ok(self.call("create a network", self.limits.slow, create).await?.id)
    }

    pub(super) async fn remove_network(&self, id: &str) -> Result<(), EngineError> {
        self.call("remove a network", self.limits.quick, self.docker.remove_network(id)).await
    }

    /// Unpacks a tar archive into a container, which need not run.
    pub(super) async fn upload(
        &self,
        name: &str,
        folder: &str,
        archive: Bytes,
    ) -> Result<(), EngineError> {
        let options = UploadToContainerOptionsBuilder::new().path(folder).build();
        let body = bollard::body_full(archive);
        let upload = self.docker.upload_to_container(name, Some(options), body);
        self.call("take an archive", self.limits.slow, upload).await
    }

    /// A file of a container, as a tar archive.
    pub(super) async fn download(&self, name: &str, path: &str) -> Result<Bytes, EngineError> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let pieces = self.docker.download_from_container(name, Some(options));
        let gather = pieces.try_fold(BytesMut::new(), async |mut all, piece| {
            all.extend_from_slice(&piece);
            Ok(all)
        });
        self.call("give an archive", self.limits.slow, gather).await.map(BytesMut::freeze)
    }

    /// Like [`Engine::download`], but as a stream. The time limit applies to each piece.
    pub(super) fn download_pieces(
        &self,
        name: &str,
        path: &str,
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + Unpin + 'static + use<> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let pieces = self.docker.download_from_container(name, Some(options)).boxed();
        self.each_limited("give an archive", self.limits.slow, pieces)
    }

    /// Applies `limit` to each piece of a stream.
    fn each_limited(
        &self,
        what: &'static str,
        limit: Duration,
        pieces: BoxStream<'static, Result<Bytes, BollardError>>,
    ) -> BoxStream<'static, Result<Bytes, EngineError>> {
        let address = self.address.clone();
        let pieces = stream::unfold((pieces, address), move |(mut pieces, address)| async move {
            let next = async { pieces.next().await.transpose() };
            let next = limited(what, limit, &address, next).await;
            next.transpose().map(|next| (next, (pieces, address)))
        });
        pieces.boxed()
    }

    async fn call<T>(
        &self,
        what: &'static str,
        limit: Duration,
        call: impl Future<Output = Result<T, BollardError>>,
    ) -> Result<T, EngineError> {
        let begun = Instant::now();
        let answer = limited(what, limit, &self.address, call).await;
        // "Not found" and "conflict" count as answers, not as failures.
        let failed = answer.as_ref().is_err_and(EngineError::is_failure);
        self.counts.note(what, begun.elapsed(), failed);
        answer
    }
}

async fn limited<T>(
    what: &'static str,
    limit: Duration,
    address: &str,
    call: impl Future<Output = Result<T, BollardError>>,
) -> Result<T, EngineError> {
    match timeout(limit, call).await {
        Ok(result) => result.map_err(|error| explain(address, limit, error)),
        Err(_) => Err(EngineError::TimedOut { what, limit }),
    }
}

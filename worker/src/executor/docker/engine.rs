//! The container engine: one method a call, each with a time limit of its own,
//! and every error in words that help.

use std::{error::Error, io, path::Path, pin::Pin, time::Duration};

use bollard::{
    Docker,
    container::LogOutput,
    errors::Error as BollardError,
    models::{
        ContainerCreateBody, ContainerInspectResponse, ContainerSummary, ImageInspect,
        VolumeCreateRequest,
    },
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder,
        DownloadFromContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder,
        UploadToContainerOptionsBuilder,
    },
};
use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt};
use tokio::{io::AsyncWrite, time::timeout};

/// Questions that the engine answers from memory.
const QUICK: Duration = Duration::from_secs(10);
/// Making, starting and removing a container on a slow disk with many others.
const SLOW: Duration = Duration::from_mins(1);

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("no container engine at {address}: {reason}. {advice}")]
    Unreachable { address: String, reason: String, advice: String },
    #[error("the engine knows no such thing: {0}")]
    NotFound(String),
    /// Somebody else does the same, or has done it already.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Refused(String),
    #[error("the engine did not {what} within {} s", .limit.as_secs())]
    TimedOut { what: &'static str, limit: Duration },
    #[error("the connection to the engine broke: {0}")]
    Broken(String),
}

/// What a container writes.
pub(super) type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, BollardError>> + Send>>;
/// What a container reads.
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
}

impl Engine {
    /// Connects to `address` (`unix:///...` or `tcp://...`) and agrees on a version of the API.
    pub(crate) async fn connect(address: &str) -> Result<Self, EngineError> {
        let error = |error| explain(address, error);
        let docker = Docker::connect_with_host(address).map_err(error)?.with_timeout(SLOW);
        let agree = async { docker.negotiate_version().await };
        let docker = limited("answer", QUICK, address, agree).await?;
        let version = limited("tell its version", QUICK, address, docker.version()).await?;
        let name = version.platform.map_or_else(|| "Engine".to_owned(), |platform| platform.name);
        let name = if name.is_empty() { "Docker Engine".to_owned() } else { name };
        Ok(Self {
            docker,
            address: address.to_owned(),
            version: format!("{name} {}", version.version.unwrap_or_default()),
            architecture: version.arch.unwrap_or_default(),
        })
    }

    /// Name and version, for people.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The socket's path, where the engine is reached by one.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.address.strip_prefix("unix://").map(Path::new)
    }

    /// In Rust's words; the engine says it in Go's.
    pub(crate) fn architecture(&self) -> &str {
        match self.architecture.as_str() {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            "386" => "x86",
            "ppc64le" => "powerpc64",
            other => other,
        }
    }

    /// For the images, which have their own limits.
    pub(crate) fn docker(&self) -> Docker {
        self.docker.clone()
    }

    pub(super) async fn ping(&self) -> Result<(), EngineError> {
        self.call("answer", QUICK, self.docker.ping()).await.map(drop)
    }

    /// Answers the container's id.
    pub(super) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let create = self.docker.create_container(Some(options), body);
        Ok(self.call("create a container", SLOW, create).await?.id)
    }

    /// Everything that the container reads and writes from its start on.
    pub(super) async fn attach(&self, name: &str) -> Result<Attached, EngineError> {
        let options = AttachContainerOptionsBuilder::new();
        let options = options.stream(true).stdin(true).stdout(true).stderr(true).build();
        let attach = self.docker.attach_container(name, Some(options));
        let attached = self.call("attach to a container", QUICK, attach).await?;
        Ok(Attached { output: attached.output, input: attached.input })
    }

    /// Only what it reads, of a container that runs already.
    pub(super) async fn attach_input(&self, name: &str) -> Result<Input, EngineError> {
        let options = AttachContainerOptionsBuilder::new().stream(true).stdin(true).build();
        let attach = self.docker.attach_container(name, Some(options));
        Ok(self.call("attach to a container", QUICK, attach).await?.input)
    }

    /// Everything that the container has written so far, and what it will write.
    pub(super) fn follow_log(&self, name: &str) -> Output {
        let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
        Box::pin(self.docker.logs(name, Some(options)))
    }

    /// Fails with [`EngineError::NotFound`] when somebody else was quicker.
    pub(super) async fn rename(&self, name: &str, new: &str) -> Result<(), EngineError> {
        let options = RenameContainerOptionsBuilder::new().name(new).build();
        self.call("rename a container", QUICK, self.docker.rename_container(name, options)).await
    }

    pub(super) async fn start(&self, name: &str) -> Result<(), EngineError> {
        self.call("start a container", SLOW, self.docker.start_container(name, None)).await
    }

    pub(super) async fn inspect(
        &self,
        name: &str,
    ) -> Result<ContainerInspectResponse, EngineError> {
        let inspect = self.docker.inspect_container(name, None);
        self.call("describe a container", QUICK, inspect).await
    }

    /// Kills it if need be, and removes its unnamed volumes with it.
    pub(super) async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let remove = self.docker.remove_container(name, Some(options));
        self.call("remove a container", SLOW, remove).await
    }

    /// All containers with all of these labels (`name=value`), running or not.
    pub(super) async fn labelled(
        &self,
        labels: &[String],
    ) -> Result<Vec<ContainerSummary>, EngineError> {
        let filters = [("label", labels.to_vec())].into();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        self.call("list containers", SLOW, self.docker.list_containers(Some(options))).await
    }

    pub(super) async fn image(&self, name: &str) -> Result<ImageInspect, EngineError> {
        self.call("describe an image", QUICK, self.docker.inspect_image(name)).await
    }

    /// Makes it, or leaves it as it is.
    pub(super) async fn create_volume(
        &self,
        volume: VolumeCreateRequest,
    ) -> Result<(), EngineError> {
        self.call("create a volume", QUICK, self.docker.create_volume(volume)).await.map(drop)
    }

    #[cfg(test)]
    pub(super) async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let options = bollard::query_parameters::RemoveVolumeOptions::default();
        let remove = self.docker.remove_volume(name, Some(options));
        self.call("remove a volume", QUICK, remove).await
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
        self.call("take an archive", SLOW, upload).await
    }

    /// A file of a container as a tar archive.
    pub(super) async fn download(&self, name: &str, path: &str) -> Result<Bytes, EngineError> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let pieces = self.docker.download_from_container(name, Some(options));
        let gather = pieces.try_fold(BytesMut::new(), async |mut all, piece| {
            all.extend_from_slice(&piece);
            Ok(all)
        });
        self.call("give an archive", SLOW, gather).await.map(BytesMut::freeze)
    }

    async fn call<T>(
        &self,
        what: &'static str,
        limit: Duration,
        call: impl Future<Output = Result<T, BollardError>>,
    ) -> Result<T, EngineError> {
        limited(what, limit, &self.address, call).await
    }
}

async fn limited<T>(
    what: &'static str,
    limit: Duration,
    address: &str,
    call: impl Future<Output = Result<T, BollardError>>,
) -> Result<T, EngineError> {
    match timeout(limit, call).await {
        Ok(result) => result.map_err(|error| explain(address, error)),
        Err(_) => Err(EngineError::TimedOut { what, limit }),
    }
}

fn explain(address: &str, error: BollardError) -> EngineError {
    match error {
        BollardError::DockerResponseServerError { status_code: 404, message } => {
            EngineError::NotFound(message)
        }
        BollardError::DockerResponseServerError { status_code: 409, message } => {
            EngineError::Conflict(message)
        }
        BollardError::DockerResponseServerError { message, .. } => EngineError::Refused(message),
        BollardError::RequestTimeoutError => EngineError::TimedOut { what: "answer", limit: SLOW },
        BollardError::SocketNotFoundError(_) => unreachable(address, io::ErrorKind::NotFound),
        BollardError::UnsupportedURISchemeError { .. } => EngineError::Unreachable {
            address: address.to_owned(),
            reason: "it is not an address of an engine".to_owned(),
            advice: "DOCKER_HOST is written like unix:///var/run/docker.sock or tcp://host:2375"
                .to_owned(),
        },
        error => match io_kind(&error) {
            Some(kind) => unreachable(address, kind),
            None => EngineError::Broken(innermost(&error).to_string()),
        },
    }
}

fn unreachable(address: &str, kind: io::ErrorKind) -> EngineError {
    let (reason, advice) = match kind {
        io::ErrorKind::NotFound => (
            "there is no such socket",
            "Install an engine (on Debian: sudo apt-get install docker.io), or set DOCKER_HOST to where one listens",
        ),
        io::ErrorKind::PermissionDenied => (
            "permission denied",
            "Join its group and log in again: sudo usermod -aG docker \"$USER\"",
        ),
        io::ErrorKind::ConnectionRefused => {
            ("nobody listens", "Start it: sudo systemctl start docker")
        }
        _ => ("the connection broke", "See whether it runs: docker info"),
    };
    EngineError::Unreachable {
        address: address.to_owned(),
        reason: reason.to_owned(),
        advice: advice.to_owned(),
    }
}

/// What the operating system said when the connection was made, if that was it.
fn io_kind(error: &BollardError) -> Option<io::ErrorKind> {
    if !matches!(error, BollardError::HyperLegacyError { err } if err.is_connect()) {
        return None;
    }
    innermost(error).downcast_ref::<io::Error>().map(io::Error::kind)
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(address: &str) -> String {
        Engine::connect(address).await.err().expect("nobody is there").to_string()
    }

    #[tokio::test]
    async fn each_way_to_have_no_engine_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let socket = format!("unix://{}/engine.sock", folder.path().display());
        assert!(refusal(&socket).await.contains("apt-get install docker.io"));

        drop(std::os::unix::net::UnixListener::bind(folder.path().join("engine.sock")).unwrap());
        assert!(refusal(&socket).await.contains("systemctl start docker"));

        assert!(refusal("gopher://engine").await.contains("DOCKER_HOST"));
    }
}

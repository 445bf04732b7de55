//! Makes the base image from Debian packages, for machines that no registry answers. `mmdebstrap`
//! or `debootstrap` writes a file system, and the engine imports it. If neither tool is installed
//! and this process may install packages, it installs one.

use std::{io, process::Stdio};

use bollard::{Docker, body_try_stream, query_parameters::CreateImageOptionsBuilder};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};
use tokio_util::io::ReaderStream;

use super::{
    ImageError,
    journal::Journal,
    transcript::{Line, Transcript},
};

/// Like Debian's own slim images. It leaves out what nobody reads in a container, here and in
/// everything installed on top. apt keeps no archives, and dpkg does not sync the disk after each
/// file.
const MMDEBSTRAP: &str = r#"
exec mmdebstrap --variant=minbase \
    --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --aptopt='Acquire::Languages "none"' \
    --customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hostname"' \
    --customize-hook='echo "DPkg::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb\"; };" > "$1/etc/apt/apt.conf.d/docker-clean"' \
    bookworm -
"#;

/// The older tool fills a folder, and knows no security updates.
const DEBOOTSTRAP: &str = r#"
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 143' TERM
debootstrap --variant=minbase bookworm "$folder" http://deb.debian.org/debian >&2
rm -rf "$folder"/var/cache/apt/* "$folder"/var/lib/apt/lists/* "$folder/etc/resolv.conf" "$folder/etc/hostname"
echo 'deb http://deb.debian.org/debian-security bookworm-security main' >> "$folder/etc/apt/sources.list"
tar -C "$folder" -c .
"#;

const INSTALL: &str = "export DEBIAN_FRONTEND=noninteractive; apt-get update && \
    apt-get install -y --no-install-recommends mmdebstrap debian-archive-keyring";

const BY_HAND: &str = "on the engine's machine, as root, run: \
    apt-get install mmdebstrap && mmdebstrap --variant=minbase bookworm | docker import - orchestra/base:bookworm";

/// Makes the base image and imports it into the engine as `reference`.
pub(super) async fn make(
    docker: &Docker,
    reference: &str,
    journal: &Journal,
) -> Result<(), ImageError> {
    let script = script(journal).await?;
    let mut tool = Tool::start(script).map_err(|err| failed(&err.to_string()))?;
    let (Some(archive), Some(talk)) = (tool.child.stdout.take(), tool.child.stderr.take()) else {
        return Err(failed("its output is not there"));
    };
    let mut transcript = Transcript::default();
    let (imported, ()) = tokio::join!(
        import(docker, reference, tool, archive),
        listen(talk, journal, &mut transcript)
    );
    imported.map_err(|err| failed(&format!("{err}{}", transcript.tail())))?;
    journal.say(format!("base image: imported as {reference}"));
    Ok(())
}

fn failed(why: &str) -> ImageError {
    ImageError::because(format!(
        "no registry has a base image for us, and none could be made from Debian packages: {why}\n{BY_HAND}"
    ))
}

/// The script for the tool that this machine has.
async fn script(journal: &Journal) -> Result<&'static str, ImageError> {
    for (tool, script) in [("mmdebstrap", MMDEBSTRAP), ("debootstrap", DEBOOTSTRAP)] {
        if has(tool).await {
            return Ok(script);
        }
    }
    if !geteuid().is_root() || !has("apt-get").await {
        return Err(failed("neither mmdebstrap nor debootstrap is installed"));
    }
    journal.say("base image: installing mmdebstrap with apt-get");
    let installed = Command::new("sh").args(["-c", INSTALL]).stdin(Stdio::null()).output().await;
    let installed = installed.map_err(|err| failed(&err.to_string()))?;
    if installed.status.success() {
        return Ok(MMDEBSTRAP);
    }
    let mut transcript = Transcript::default();
    transcript.read(&String::from_utf8_lossy(&installed.stderr));
    Err(failed(&format!("mmdebstrap could not be installed:{}", transcript.tail())))
}

async fn has(tool: &str) -> bool {
    let mut command = Command::new(tool);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

/// A running script. Dropping it ends the script with SIGTERM rather than SIGKILL, so that the
/// script can remove its files.
struct Tool {
    child: Child,
}

impl Tool {
    fn start(script: &str) -> io::Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("LC_ALL", "C").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self { child: command.spawn()? })
    }

    async fn succeeded(mut self) -> io::Result<()> {
        let status = self.child.wait().await?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("it ended with {status}")))
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let group = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(group) = group {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

async fn listen(mut talk: impl AsyncRead + Unpin, journal: &Journal, transcript: &mut Transcript) {
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = talk.read(&mut piece).await {
        for line in transcript.read(&String::from_utf8_lossy(&piece[..length])) {
            let (Line::Printed(text) | Line::Step(text)) = line;
            let text = text.strip_prefix("I: ").unwrap_or(&text);
            journal.mention(|| format!("base image: {text}"));
        }
    }
}

/// Streams the archive to the engine. Nothing is imported unless the tool succeeds, because the
/// engine would accept an empty archive.
async fn import(
    docker: &Docker,
    reference: &str,
    tool: Tool,
    archive: impl AsyncRead + Send + 'static,
) -> io::Result<()> {
    let mut archive = Box::pin(ReaderStream::with_capacity(archive, 256 << 10));
    let Some(first) = archive.next().await else {
        tool.succeeded().await?;
        return Err(io::Error::other("it wrote nothing"));
    };
    let end = stream::once(tool.succeeded())
        .filter_map(|end| future::ready(end.err().map(Err::<Bytes, _>)));
    let body = stream::iter([first]).chain(archive).chain(end);
    let (repository, tag) = reference.split_once(':').unwrap_or((reference, "latest"));
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(repository)
        .tag(tag)
        .changes(vec!["CMD [\"bash\"]".to_owned(), "LABEL orchestra.base=bookworm".to_owned()])
        .build();
    let events = docker.create_image(Some(options), Some(body_try_stream(body)), None);
    events.try_for_each(|_| future::ok(())).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{find, tests::engine},
        *,
    };

    /// Imports what `script` writes. Returns the error, and whether there is an image.
    async fn imported(name: &str, script: &str) -> Option<(String, bool)> {
        let docker = engine().await?;
        let reference = format!("orchestra/{name}:{}", std::process::id());
        let mut tool = Tool::start(script).unwrap();
        let archive = tool.child.stdout.take().unwrap();
        let err = import(&docker, &reference, tool, archive).await.unwrap_err();
        Some((err.to_string(), find(&docker, &reference).await.unwrap().is_some()))
    }

    #[tokio::test]
    async fn a_tool_that_fails_before_it_writes_imports_nothing() {
        let Some((err, exists)) = imported("test-nothing", "exit 3").await else { return };
        assert_eq!((err.as_str(), exists), ("it ended with exit status: 3", false));
    }

    #[tokio::test]
    async fn a_tool_that_fails_in_the_middle_imports_nothing() {
        let script = "tar -c /etc/apt 2>/dev/null | head -c 20000; exit 3";
        let Some((_, exists)) = imported("test-half", script).await else { return };
        assert!(!exists);
    }

    #[tokio::test]
    async fn a_tool_that_is_no_longer_wanted_ends_with_all_its_children() {
        let mut tool = Tool::start("sleep 1000 & sleep 1000").unwrap();
        let mut output = tool.child.stdout.take().unwrap();
        drop(tool);
        let mut rest = Vec::new();
        let end = output.read_to_end(&mut rest);
        // Every one of its processes holds the pipe open.
        let end = tokio::time::timeout(std::time::Duration::from_secs(10), end).await;
        assert_eq!(end.expect("a process of it lives on").unwrap(), 0);
    }
}

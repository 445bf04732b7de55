//! The path of worker-files on the engine's host.
//!
//! The engine resolves mounts on its own host. The paths of a worker that runs in a container mean
//! nothing there, so the worker inspects its own container and finds what is mounted at them. If
//! that fails it reports an error, rather than let jobs run in a folder that nobody sees.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use super::engine::{Engine, EngineError};

/// What the engine must mount so that a container sees one of the worker's folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OnHost {
    Folder(PathBuf),
    /// A volume whose driver does not say where it is. Its location may change with each mount.
    Volume(String),
}

impl fmt::Display for OnHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Volume(name) => f.write_str(name),
        }
    }
}

/// Translates one of the worker's folders into a place on the engine's host.
pub(super) async fn on_host(engine: &Engine, folder: &Path) -> Result<OnHost, String> {
    let here = || OnHost::Folder(folder.to_owned());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Some(id) = own_container(&mounts) else { return Ok(here()) };
    let container = match engine.inspect(&id).await {
        Ok(container) => container,
        // Another engine made our container. Unless this engine's socket was mounted in from
        // outside, it runs in our container and sees the same paths.
        Err(EngineError::NotFound(_)) if !is_mounted(&mounts, engine.socket()) => {
            return Ok(here());
        }
        Err(error) => return Err(cannot(folder, &error.to_string())),
    };
    let mounts = container.mounts.unwrap_or_default().into_iter();
    let mounted: Vec<(PathBuf, OnHost)> = mounts
        .filter_map(|mount| {
            let at = PathBuf::from(mount.destination?);
            // For volumes of other drivers, the engine gives only the name.
            match mount.source.filter(|source| !source.is_empty()) {
                Some(source) => Some((at, OnHost::Folder(source.into()))),
                None => Some((at, OnHost::Volume(mount.name?))),
            }
        })
        .collect();
    translate(folder, &mounted).map_err(|reason| cannot(folder, reason))
}

fn cannot(folder: &Path, reason: &str) -> String {
    let shown = folder.display();
    format!(
        "this worker runs in a container and cannot tell where its worker-files {shown} is on the engine's host: {reason}"
    )
}

/// The id of the container that this process runs in. The engine mounts three files of its own into
/// every container, from a folder named after the container's id.
fn own_container(mountinfo: &str) -> Option<String> {
    const ENGINES_FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
    mountinfo.lines().find_map(|line| {
        // proc(5): id, parent, device, root of the mount, mount point, ...
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        if !ENGINES_FILES.contains(&point) {
            return None;
        }
        let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit());
        root.split('/').find(is_id).map(str::to_owned)
    })
}

fn is_mounted(mountinfo: &str, path: Option<&Path>) -> bool {
    // An engine reached over the network is always outside.
    let Some(path) = path.and_then(|path| path.canonicalize().ok()) else { return true };
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(Path::new).any(|point| point != Path::new("/") && path.starts_with(point))
}

/// Translates by the mount that is nearest above the folder.
fn translate(folder: &Path, mounted: &[(PathBuf, OnHost)]) -> Result<OnHost, &'static str> {
    const NOTHING: &str =
        "nothing of the host is mounted there; mount a folder of the host, or a volume, at it";
    let above = mounted.iter().filter(|(inside, _)| folder.starts_with(inside));
    let nearest = above.max_by_key(|(inside, _)| inside.components().count());
    let (inside, outside) = nearest.ok_or(NOTHING)?;
    let rest = folder.strip_prefix(inside).map_err(|_| NOTHING)?;
    match outside {
        _ if rest.as_os_str().is_empty() => Ok(outside.clone()),
        OnHost::Folder(outside) => Ok(OnHost::Folder(outside.join(rest))),
        OnHost::Volume(_) => Err("it is a folder of a volume; mount the volume itself at it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e";

    #[test]
    fn a_container_is_known_by_the_files_that_the_engine_mounts() {
        let inside = format!(
            "700 650 0:50 / / rw - overlay overlay rw\n\
             701 700 254:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/vda rw\n"
        );
        assert_eq!(own_container(&inside).as_deref(), Some(ID));
        let outside = "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
                       28 27 254:0 /home/aaaa /etc/hosts rw - ext4 /dev/vda rw\n";
        assert_eq!(own_container(outside), None);
    }

    #[test]
    fn the_nearest_mount_decides() {
        let folder = |path: &str| OnHost::Folder(path.into());
        let mounted = [
            ("/data", folder("/srv/data")),
            ("/data/files", folder("/home/me/worker-files")),
            ("/elsewhere", OnHost::Volume("files".to_owned())),
        ]
        .map(|(inside, outside)| (PathBuf::from(inside), outside));
        let on_host = |folder: &str| translate(Path::new(folder), &mounted);
        assert_eq!(on_host("/data/files"), Ok(folder("/home/me/worker-files")));
        assert_eq!(on_host("/data/files/a"), Ok(folder("/home/me/worker-files/a")));
        assert_eq!(on_host("/data/x"), Ok(folder("/srv/data/x")));
        assert!(on_host("/database").unwrap_err().contains("mount a folder of the host"));
        assert_eq!(on_host("/elsewhere"), Ok(OnHost::Volume("files".to_owned())));
        assert!(on_host("/elsewhere/a").unwrap_err().contains("mount the volume itself"));
    }

    #[test]
    fn a_socket_is_ours_unless_it_or_its_folder_was_mounted() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().canonicalize().unwrap().join("engine.sock");
        fs::write(&socket, "").unwrap();
        let mount = |point: &Path| format!("1 2 0:1 / {} rw - tmpfs tmpfs rw\n", point.display());
        assert!(is_mounted(&mount(&socket), Some(&socket)));
        assert!(!is_mounted(&mount(Path::new("/")), Some(&socket)));
        assert!(is_mounted("", None));
    }
}

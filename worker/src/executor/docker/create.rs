//! The only builder of a job's container. All of a job's confinement is here, each part with a test
//! that fails without it.
//!
//! Left out on purpose: masked and read-only paths (`None` means the engine's own lists, an empty
//! list would mean none), the seccomp and `AppArmor` profiles (the engine's defaults apply), and
//! `init` (the sandbox is PID 1 and reaps).
//!
//! A job cannot tell whether its container was made for it or ahead of it.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType, MountVolumeOptions,
    ResourcesUlimits,
};
use orchestra_contracts::{AttemptNo, JobId, Workspace};

use super::{paths::OnHost, volume, wall::Outside, workspace};
use crate::config::{JobUser, Limits};

const JOB_LABEL: &str = "orchestra.job";
const ATTEMPT_LABEL: &str = "orchestra.attempt";

/// Where worker-files is mounted in every job container, and where the command starts.
pub(super) const WORKDIR: &str = "/work";
/// The host name of every job container. The master uses the same one in `service/repro.rs`.
pub(super) const HOST_NAME: &str = "orchestra";
/// Set for PID 1 only, which does not pass it on.
const IDLE_VARIABLE: &str = "ORCHESTRA_IDLE_MS";
/// Also set for PID 1 only. It says that there is time before the job comes, see
/// `sandbox/src/primer.rs`.
const AHEAD: &str = "ORCHESTRA_AHEAD=yes";

const OPEN_FILES: i64 = 1024;
/// When memory runs short, the kernel kills jobs before the machine's own programs (`proc(5)`,
/// `oom_score_adj`). The sandbox raises the score for its job. A job cannot lower a score that was
/// set by an engine with `CAP_SYS_RESOURCE`.
const OOM_SCORE: i64 = 500;
const PAGE: u64 = 4096;
const FEWEST_FILES: u64 = 1024;
const SHM_BYTES: i64 = 64 << 20;
/// The engine keeps all output that passes the log's limit, in two files, with room for the frames
/// around small pieces.
const LOG_ROOM: u64 = 8 << 20;

/// The properties of one job's container.
pub(super) struct Plan<'a> {
    /// The labels of every container of this worker.
    pub(super) labels: HashMap<String, String>,
    /// The attempt that it is made for; `None` if it is made ahead of its job. The name encodes
    /// this, see `name.rs`.
    pub(super) whose: Option<(JobId, AttemptNo)>,
    pub(super) user: JobUser,
    /// worker-files, under its path on the engine's host.
    pub(super) files: &'a OnHost,
    pub(super) workspace: Workspace,
    /// The volume that holds the sandbox program.
    pub(super) sandbox: &'a str,
    pub(super) limits: Limits,
    /// The size limit of a file that the job writes, in bytes.
    pub(super) file_size: u64,
    /// `None` for most jobs.
    pub(super) network: Option<Outside>,
    /// The name servers on that network. Empty means the engine's own.
    pub(super) dns: &'a [IpAddr],
    /// A sandbox that gets no job within this time ends itself, because its worker is gone.
    pub(super) idle: Duration,
    pub(super) runtime: Option<&'a str>,
    /// The log limit: the most bytes of output that the sandbox passes on.
    pub(super) log_bytes: u64,
}

impl Plan<'_> {
    /// The request to create the container. `image` is an image id.
    pub(super) fn request(&self, image: &str) -> ContainerCreateBody {
        ContainerCreateBody {
            image: Some(image.to_owned()),
            labels: Some(self.labels.clone()),
            hostname: Some(HOST_NAME.to_owned()),
            user: Some(self.user.to_string()),
            working_dir: Some(WORKDIR.to_owned()),
            env: Some(self.environment()),
            entrypoint: Some(vec![volume::PROGRAM.to_owned()]),
            // Overrides the image's command.
            cmd: Some(Vec::new()),
            tty: Some(false),
            open_stdin: Some(true),
            stdin_once: Some(false),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            // Skips the engine's network set-up, which is half the cost of a start. An empty
            // network namespace with a loopback interface remains.
            network_disabled: Some(self.network.is_none()),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            host_config: Some(self.host_config()),
            ..ContainerCreateBody::default()
        }
    }

    /// The environment of PID 1. A job's environment comes from the worker, with the job.
    fn environment(&self) -> Vec<String> {
        let idle = format!("{IDLE_VARIABLE}={}", self.idle.as_millis());
        let ahead = self.whose.is_none().then(|| AHEAD.to_owned());
        [Some(idle), ahead].into_iter().flatten().collect()
    }

    fn host_config(&self) -> HostConfig {
        let limits = &self.limits;
        let memory = signed(limits.memory.0);
        HostConfig {
            network_mode: Some(self.network_mode()),
            dns: self.network.as_ref().map(|_| self.dns.iter().map(IpAddr::to_string).collect()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(true),
            tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmpfs_options(limits.tmp.0))])),
            mounts: Some(vec![self.workspace(), volume::mount(self.sandbox, true)]),
            memory: Some(memory),
            // Equal to `memory`, so there is no swap beyond it.
            memory_swap: Some(memory),
            nano_cpus: Some((limits.cpus * 1e9) as i64),
            pids_limit: Some(i64::from(limits.pids)),
            ulimits: Some(vec![
                ulimit("nofile", OPEN_FILES),
                ulimit("core", 0),
                ulimit("fsize", signed(self.file_size)),
            ]),
            oom_score_adj: Some(OOM_SCORE),
            shm_size: Some(SHM_BYTES),
            ipc_mode: Some("private".to_owned()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            log_config: Some(self.log_config()),
            // The container must stay inspectable until its end has been read.
            auto_remove: Some(false),
            runtime: self.runtime.map(str::to_owned),
            ..HostConfig::default()
        }
    }

    fn network_mode(&self) -> String {
        self.network.as_ref().map_or("none", |outside| &outside.network).to_owned()
    }

    /// Labels of a private workspace's volume. A volume has no name that could tell its owner.
    fn labels_of_folder(&self) -> HashMap<String, String> {
        let mut labels = self.labels.clone();
        if let Some((job, attempt)) = self.whose {
            labels.insert(JOB_LABEL.to_owned(), job.to_string());
            labels.insert(ATTEMPT_LABEL.to_owned(), attempt.to_string());
        }
        labels
    }

    fn workspace(&self) -> Mount {
        match self.workspace {
            Workspace::Shared => mount_of(self.files),
            Workspace::Private => workspace::mount(self.labels_of_folder()),
        }
    }

    /// The `local` driver keeps bytes as they are. `json-file` would replace those that are not
    /// UTF-8.
    fn log_config(&self) -> HostConfigLogConfig {
        let file = self.log_bytes + LOG_ROOM;
        let config = [
            ("max-size", file.to_string()),
            ("max-file", "2".into()),
            ("compress", "false".into()),
        ];
        HostConfigLogConfig {
            typ: Some("local".to_owned()),
            config: Some(config.map(|(key, value)| (key.to_owned(), value)).into()),
        }
    }
}

/// No more inodes than pages: an empty file takes memory too, but counts nothing towards the size.
fn tmpfs_options(bytes: u64) -> String {
    let files = (bytes / PAGE).max(FEWEST_FILES);
    format!("rw,exec,nosuid,nodev,mode=1777,size={bytes},nr_inodes={files}")
}

fn ulimit(name: &str, most: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(most), hard: Some(most) }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Uses a mount rather than a "bind": the engine would parse a bind for colons, and would create a
/// missing folder as root.
fn mount_of(files: &OnHost) -> Mount {
    let mount = Mount {
        source: Some(files.to_string()),
        target: Some(WORKDIR.to_owned()),
        read_only: Some(false),
        ..Mount::default()
    };
    match files {
        OnHost::Folder(_) => Mount {
            typ: Some(MountType::BIND),
            bind_options: Some(MountBindOptions {
                propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
                ..MountBindOptions::default()
            }),
            ..mount
        },
        // The volume must not be filled with the image's files, even when it is empty.
        OnHost::Volume(_) => Mount {
            typ: Some(MountType::VOLUME),
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(true),
                ..MountVolumeOptions::default()
            }),
            ..mount
        },
    }
}

#[cfg(test)]
mod tests;

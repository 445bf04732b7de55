//! The one builder of a job's container. Everything that holds a job in stands
//! here, each with a test that fails when it is taken away.
//!
//! Left out on purpose: masked and read-only paths (`None` means the engine's
//! own lists, an empty list would mean none), the profiles of seccomp and `AppArmor`
//! (the engine's), `init` (the sandbox is PID 1 and reaps).
//!
//! What is made for a job and what is made ahead of one differ in nothing that a job can see.

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

/// Where worker-files stands in every job container, and where the command starts.
pub(super) const WORKDIR: &str = "/work";
/// Of every job container. `service/repro.rs` of the master says the same one.
pub(super) const HOST_NAME: &str = "orchestra";
/// Only PID 1 has it, and shows it to nobody.
const IDLE_VARIABLE: &str = "ORCHESTRA_IDLE_MS";
/// The same of this one: there is time before its job comes, see `sandbox/src/primer.rs`.
const AHEAD: &str = "ORCHESTRA_AHEAD=yes";

const OPEN_FILES: i64 = 1024;
/// When the machine's memory is short its kernel ends jobs before the machine's own programs
/// (`proc(5)`, `oom_score_adj`). The sandbox raises it for its job; what an engine with
/// `CAP_SYS_RESOURCE` has set, no job can lower.
const OOM_SCORE: i64 = 500;
const PAGE: u64 = 4096;
const FEWEST_FILES: u64 = 1024;
const SHM_BYTES: i64 = 64 << 20;
/// The engine's copy of the output holds all that passes the log's limit, in two
/// files, with room for the frames around small pieces.
const LOG_ROOM: u64 = 8 << 20;

/// What one job's container is to be like.
pub(super) struct Plan<'a> {
    /// Those of every container of this worker.
    pub(super) labels: HashMap<String, String>,
    /// Whose it is; `None` of one that is made ahead of its job. Its name says so, see `name.rs`.
    pub(super) whose: Option<(JobId, AttemptNo)>,
    pub(super) user: JobUser,
    /// worker-files, as the engine's host knows it.
    pub(super) files: &'a OnHost,
    pub(super) workspace: Workspace,
    /// The volume that holds the sandbox program.
    pub(super) sandbox: &'a str,
    pub(super) limits: Limits,
    /// Of the largest file that it may write, in bytes.
    pub(super) file_size: u64,
    /// Most jobs have no network.
    pub(super) network: Option<Outside>,
    /// The name servers on that network, unless the engine's own will do.
    pub(super) dns: &'a [IpAddr],
    /// A sandbox that gets no job in this time ends itself: its worker is gone.
    pub(super) idle: Duration,
    pub(super) runtime: Option<&'a str>,
    /// So many bytes of output pass at most.
    pub(super) log_bytes: u64,
}

impl Plan<'_> {
    /// `image` is the image's id.
    pub(super) fn request(&self, image: &str) -> ContainerCreateBody {
        ContainerCreateBody {
            image: Some(image.to_owned()),
            labels: Some(self.labels.clone()),
            hostname: Some(HOST_NAME.to_owned()),
            user: Some(self.user.to_string()),
            working_dir: Some(WORKDIR.to_owned()),
            env: Some(self.environment()),
            entrypoint: Some(vec![volume::PROGRAM.to_owned()]),
            // Nothing of the image's either.
            cmd: Some(Vec::new()),
            tty: Some(false),
            open_stdin: Some(true),
            stdin_once: Some(false),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            // Skips the engine's network set-up altogether, half of the cost of a
            // start; what is left is an empty network namespace with a loopback.
            network_disabled: Some(self.network.is_none()),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            host_config: Some(self.host_config()),
            ..ContainerCreateBody::default()
        }
    }

    /// PID 1's own: jobs have what the worker tells it.
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
            // The same number: no swap beyond the memory.
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
            // An end that was not seen yet must stay readable.
            auto_remove: Some(false),
            runtime: self.runtime.map(str::to_owned),
            ..HostConfig::default()
        }
    }

    fn network_mode(&self) -> String {
        self.network.as_ref().map_or("none", |outside| &outside.network).to_owned()
    }

    /// Of a volume, which has no name that could tell.
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

    /// The `local` driver keeps bytes as they are; `json-file` would replace
    /// those that are not UTF-8.
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

/// No more files than pages: an empty file takes memory, too, and none of the size.
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

/// As a mount, not as a "bind": that one would be parsed for colons, and
/// would create a missing folder as root.
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
        // Nothing of the image comes into it, also when it is empty.
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

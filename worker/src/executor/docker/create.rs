//! The one builder of a job's container. Everything that holds a job in stands
//! here, each with a test that fails when it is taken away.
//!
//! Left out on purpose: masked and read-only paths (`None` means the engine's
//! own lists, an empty list would mean none), the profiles of seccomp and `AppArmor`
//! (the engine's), `init` (the sandbox is PID 1 and reaps).

use std::{collections::HashMap, path::Path, time::Duration};

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType, ResourcesUlimits,
};
use orchestra_contracts::{AttemptNo, JobId, Network};

use super::volume;
use crate::config::{JobUser, Limits};

pub(super) const JOB_LABEL: &str = "orchestra.job";
pub(super) const ATTEMPT_LABEL: &str = "orchestra.attempt";

/// Where worker-files stands in every job container, and where the command starts.
pub(super) const WORKDIR: &str = "/work";

/// A sandbox that gets no job in this time ends itself: its worker is gone.
const IDLE: Duration = Duration::from_mins(1);
const OPEN_FILES: i64 = 1024;
const SHM_BYTES: i64 = 64 << 20;
/// The engine's copy of the output holds all that passes the log's limit, in two
/// files, with room for the frames around small pieces.
const LOG_ROOM: u64 = 8 << 20;

/// What one job's container is to be like.
pub(super) struct Plan<'a> {
    /// Those of every container of this worker.
    pub(super) labels: HashMap<String, String>,
    pub(super) job: JobId,
    pub(super) attempt: AttemptNo,
    pub(super) user: JobUser,
    /// worker-files, as the engine's host knows it.
    pub(super) files: &'a Path,
    /// The volume that holds the sandbox program.
    pub(super) sandbox: &'a str,
    pub(super) limits: Limits,
    pub(super) network: Network,
    pub(super) runtime: Option<&'a str>,
    /// So many bytes of output pass at most.
    pub(super) log_bytes: u64,
}

impl Plan<'_> {
    /// `image` is the image's id.
    pub(super) fn request(&self, image: &str) -> ContainerCreateBody {
        let offline = self.network == Network::None;
        ContainerCreateBody {
            image: Some(image.to_owned()),
            labels: Some(self.labels()),
            hostname: Some(format!("job-{}", self.job)),
            user: Some(self.user.to_string()),
            working_dir: Some(WORKDIR.to_owned()),
            env: Some(Vec::new()),
            entrypoint: Some(vec![volume::PROGRAM.to_owned()]),
            cmd: Some(vec!["--idle-ms".to_owned(), IDLE.as_millis().to_string()]),
            tty: Some(false),
            open_stdin: Some(true),
            stdin_once: Some(false),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            // Skips the engine's network set-up altogether, half of the cost of a
            // start; what is left is an empty network namespace with a loopback.
            network_disabled: Some(offline),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            host_config: Some(self.host_config(if offline { "none" } else { "bridge" })),
            ..ContainerCreateBody::default()
        }
    }

    fn host_config(&self, network: &str) -> HostConfig {
        let limits = &self.limits;
        let memory = signed(limits.memory.0);
        HostConfig {
            network_mode: Some(network.to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(true),
            tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmpfs_options(limits.tmp.0))])),
            mounts: Some(vec![self.worker_files(), volume::mount(self.sandbox, true)]),
            memory: Some(memory),
            // The same number: no swap beyond the memory.
            memory_swap: Some(memory),
            nano_cpus: Some((limits.cpus * 1e9) as i64),
            pids_limit: Some(i64::from(limits.pids)),
            ulimits: Some(vec![ulimit("nofile", OPEN_FILES), ulimit("core", 0)]),
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

    fn labels(&self) -> HashMap<String, String> {
        let mut labels = self.labels.clone();
        labels.insert(JOB_LABEL.to_owned(), self.job.to_string());
        labels.insert(ATTEMPT_LABEL.to_owned(), self.attempt.to_string());
        labels
    }

    /// As a mount, not as a "bind": that one would be parsed for colons, and
    /// would create a missing folder as root.
    fn worker_files(&self) -> Mount {
        Mount {
            typ: Some(MountType::BIND),
            source: Some(self.files.display().to_string()),
            target: Some(WORKDIR.to_owned()),
            read_only: Some(false),
            bind_options: Some(MountBindOptions {
                propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
                ..MountBindOptions::default()
            }),
            ..Mount::default()
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

fn tmpfs_options(bytes: u64) -> String {
    format!("rw,exec,nosuid,nodev,mode=1777,size={bytes}")
}

fn ulimit(name: &str, most: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(most), hard: Some(most) }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::Size;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn request(network: Network) -> Value {
        let limits = Limits { cpus: 1.5, memory: Size::mib(512), pids: 256, tmp: Size::mib(64) };
        let plan = Plan {
            labels: [("orchestra.worker".to_owned(), "w".to_owned())].into(),
            job: JobId(7),
            attempt: AttemptNo(2),
            user: JobUser { uid: 1000, gid: 100 },
            files: Path::new("/srv/worker-files"),
            sandbox: "orchestra-sandbox-1",
            limits,
            network,
            runtime: Some("runsc"),
            log_bytes: 17 << 20,
        };
        serde_json::to_value(plan.request("sha256:1")).unwrap()
    }

    #[rstest]
    #[case::image("/Image", json!("sha256:1"))]
    #[case::pid_1_is_the_sandbox("/Entrypoint", json!(["/orchestra/orchestra-sandbox"]))]
    #[case::an_idle_sandbox_ends("/Cmd", json!(["--idle-ms", "60000"]))]
    #[case::not_root("/User", json!("1000:100"))]
    #[case::workdir("/WorkingDir", json!("/work"))]
    #[case::no_environment("/Env", json!([]))]
    #[case::no_terminal("/Tty", json!(false))]
    #[case::stdin_is_open("/OpenStdin", json!(true))]
    #[case::stdin_stays_open("/StdinOnce", json!(false))]
    #[case::stdin_attached("/AttachStdin", json!(true))]
    #[case::stdout_attached("/AttachStdout", json!(true))]
    #[case::stderr_attached("/AttachStderr", json!(true))]
    #[case::no_network_set_up("/NetworkDisabled", json!(true))]
    #[case::no_network("/HostConfig/NetworkMode", json!("none"))]
    #[case::no_health_check("/Healthcheck/Test", json!(["NONE"]))]
    #[case::no_capabilities("/HostConfig/CapDrop", json!(["ALL"]))]
    #[case::no_new_privileges("/HostConfig/SecurityOpt", json!(["no-new-privileges"]))]
    #[case::root_is_read_only("/HostConfig/ReadonlyRootfs", json!(true))]
    #[case::tmp_is_bounded("/HostConfig/Tmpfs", json!({"/tmp": "rw,exec,nosuid,nodev,mode=1777,size=67108864"}))]
    #[case::memory("/HostConfig/Memory", json!(512 << 20))]
    #[case::no_swap("/HostConfig/MemorySwap", json!(512 << 20))]
    #[case::cpus("/HostConfig/NanoCpus", json!(1_500_000_000))]
    #[case::pids("/HostConfig/PidsLimit", json!(256))]
    #[case::open_files("/HostConfig/Ulimits/0", json!({"Name": "nofile", "Soft": 1024, "Hard": 1024}))]
    #[case::no_core_dumps("/HostConfig/Ulimits/1", json!({"Name": "core", "Soft": 0, "Hard": 0}))]
    #[case::shared_memory("/HostConfig/ShmSize", json!(64 << 20))]
    #[case::own_ipc("/HostConfig/IpcMode", json!("private"))]
    #[case::own_cgroups("/HostConfig/CgroupnsMode", json!("private"))]
    #[case::log_driver("/HostConfig/LogConfig/Type", json!("local"))]
    #[case::log_is_bounded("/HostConfig/LogConfig/Config/max-size", json!("26214400"))]
    #[case::log_files("/HostConfig/LogConfig/Config/max-file", json!("2"))]
    #[case::stays_until_removed("/HostConfig/AutoRemove", json!(false))]
    #[case::runtime("/HostConfig/Runtime", json!("runsc"))]
    #[case::worker_files("/HostConfig/Mounts/0", json!({
        "Type": "bind", "Source": "/srv/worker-files", "Target": "/work", "ReadOnly": false,
        "BindOptions": {"Propagation": "rprivate"}}))]
    #[case::sandbox("/HostConfig/Mounts/1", json!({
        "Type": "volume", "Source": "orchestra-sandbox-1", "Target": "/orchestra", "ReadOnly": true,
        "VolumeOptions": {"NoCopy": true}}))]
    #[case::labels("/Labels", json!({
        "orchestra.worker": "w", "orchestra.job": "7", "orchestra.attempt": "2"}))]
    fn holds_the_job_in(#[case] pointer: &str, #[case] value: Value) {
        assert_eq!(request(Network::None).pointer(pointer), Some(&value), "{pointer}");
    }

    /// Whatever these are, they widen what a job can reach.
    #[rstest]
    fn is_never_set(
        #[values(
            "Binds",
            "CapAdd",
            "Devices",
            "DeviceRequests",
            "Privileged",
            "PidMode",
            "UTSMode",
            "UsernsMode",
            "CgroupParent",
            "VolumesFrom",
            "Sysctls",
            "MaskedPaths",
            "ReadonlyPaths",
            "OomKillDisable",
            "Init",
            "GroupAdd",
            "PortBindings",
            "PublishAllPorts",
            "ExtraHosts"
        )]
        field: &str,
    ) {
        for network in [Network::None, Network::Bridge] {
            assert_eq!(request(network)["HostConfig"].get(field), None, "{field}");
        }
    }

    #[test]
    fn there_are_two_mounts_and_no_more() {
        let request = request(Network::None);
        assert_eq!(request["HostConfig"]["Mounts"].as_array().unwrap().len(), 2);
        assert_eq!(request.get("Volumes"), None);
    }

    #[test]
    fn a_network_is_the_bridge() {
        let request = request(Network::Bridge);
        assert_eq!(request["NetworkDisabled"], json!(false));
        assert_eq!(request["HostConfig"]["NetworkMode"], json!("bridge"));
    }
}

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
mod tests {
    use std::collections::BTreeSet;

    use orchestra_contracts::Size;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn request(network: Option<&str>) -> Value {
        request_in(Workspace::Shared, network)
    }

    fn request_in(workspace: Workspace, network: Option<&str>) -> Value {
        request_with(Some((JobId(7), AttemptNo(2))), workspace, network)
    }

    fn request_of(whose: Option<(JobId, AttemptNo)>) -> Value {
        request_with(whose, Workspace::Shared, None)
    }

    fn request_with(
        whose: Option<(JobId, AttemptNo)>,
        workspace: Workspace,
        network: Option<&str>,
    ) -> Value {
        let limits = Limits { cpus: 1.5, memory: Size::mib(512), pids: 256, tmp: Size::mib(64) };
        let plan = Plan {
            labels: [("orchestra.worker".to_owned(), "w".to_owned())].into(),
            whose,
            user: JobUser { uid: 1000, gid: 100 },
            files: &OnHost::Folder("/srv/worker-files".into()),
            workspace,
            sandbox: "orchestra-sandbox-1",
            limits,
            file_size: 5,
            network: network.map(|id| Outside { network: id.to_owned(), walled: BTreeSet::new() }),
            dns: &[IpAddr::from([9, 9, 9, 9])],
            idle: Duration::from_secs(45),
            runtime: Some("runsc"),
            log_bytes: 17 << 20,
        };
        serde_json::to_value(plan.request("sha256:1")).unwrap()
    }

    #[rstest]
    #[case::image("/Image", json!("sha256:1"))]
    #[case::pid_1_is_the_sandbox("/Entrypoint", json!(["/orchestra/orchestra-sandbox"]))]
    #[case::an_idle_sandbox_ends("/Env", json!(["ORCHESTRA_IDLE_MS=45000"]))]
    #[case::not_root("/User", json!("1000:100"))]
    #[case::workdir("/WorkingDir", json!("/work"))]
    #[case::no_arguments("/Cmd", json!([]))]
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
    #[case::tmp_is_bounded("/HostConfig/Tmpfs", json!({"/tmp": "rw,exec,nosuid,nodev,mode=1777,size=67108864,nr_inodes=16384"}))]
    #[case::memory("/HostConfig/Memory", json!(512 << 20))]
    #[case::no_swap("/HostConfig/MemorySwap", json!(512 << 20))]
    #[case::cpus("/HostConfig/NanoCpus", json!(1_500_000_000))]
    #[case::pids("/HostConfig/PidsLimit", json!(256))]
    #[case::open_files("/HostConfig/Ulimits/0", json!({"Name": "nofile", "Soft": 1024, "Hard": 1024}))]
    #[case::no_core_dumps("/HostConfig/Ulimits/1", json!({"Name": "core", "Soft": 0, "Hard": 0}))]
    #[case::file_size("/HostConfig/Ulimits/2", json!({"Name": "fsize", "Soft": 5, "Hard": 5}))]
    #[case::first_to_go_when_memory_is_short("/HostConfig/OomScoreAdj", json!(500))]
    #[case::host_name_tells_nothing("/Hostname", json!("orchestra"))]
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
    #[case::labels("/Labels", json!({"orchestra.worker": "w"}))]
    fn holds_the_job_in(#[case] pointer: &str, #[case] value: Value) {
        assert_eq!(request(None).pointer(pointer), Some(&value), "{pointer}");
    }

    #[test]
    fn a_volume_of_a_driver_is_mounted_by_its_name() {
        let files = OnHost::Volume("files".to_owned());
        let mounted = serde_json::to_value(mount_of(&files)).unwrap();
        let volume = json!({
            "Type": "volume", "Source": "files", "Target": "/work", "ReadOnly": false,
            "VolumeOptions": {"NoCopy": true}});
        assert_eq!(mounted, volume);
    }

    /// Nothing else is different about it.
    #[test]
    fn one_that_is_made_ahead_of_its_job_knows_it() {
        let (mut ahead, made_for) = (request_of(None), request(None));
        assert_eq!(ahead["Env"], json!(["ORCHESTRA_IDLE_MS=45000", "ORCHESTRA_AHEAD=yes"]));
        ahead["Env"] = made_for["Env"].clone();
        assert_eq!(ahead, made_for);
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
        for network in [None, Some("n1")] {
            assert_eq!(request(network)["HostConfig"].get(field), None, "{field}");
        }
    }

    #[test]
    fn there_are_two_mounts_and_no_more() {
        let request = request(None);
        assert_eq!(request["HostConfig"]["Mounts"].as_array().unwrap().len(), 2);
        assert_eq!(request.get("Volumes"), None);
    }

    #[test]
    fn a_private_folder_is_a_volume_without_a_name_and_no_worker_files() {
        let request = request_in(Workspace::Private, None);
        let mount = json!({
            "Type": "volume", "Target": "/work", "ReadOnly": false,
            "VolumeOptions": {"NoCopy": true, "Labels": {
                "orchestra.worker": "w", "orchestra.job": "7", "orchestra.attempt": "2"}}});
        assert_eq!(request.pointer("/HostConfig/Mounts/0"), Some(&mount));
        assert_eq!(request["HostConfig"]["Mounts"].as_array().unwrap().len(), 2);
        assert!(!request.to_string().contains("worker-files"));
    }

    #[test]
    fn a_network_is_ours_with_the_name_servers_that_the_operator_names() {
        let request = request(Some("n1"));
        assert_eq!(request["NetworkDisabled"], json!(false));
        assert_eq!(request["HostConfig"]["NetworkMode"], json!("n1"));
        assert_eq!(request["HostConfig"]["Dns"], json!(["9.9.9.9"]));
    }
}

//! Each option of the container request, by its JSON pointer.

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

/// Nothing else differs.
#[test]
fn one_that_is_made_ahead_of_its_job_knows_it() {
    let (mut ahead, made_for) = (request_of(None), request(None));
    assert_eq!(ahead["Env"], json!(["ORCHESTRA_IDLE_MS=45000", "ORCHESTRA_AHEAD=yes"]));
    ahead["Env"] = made_for["Env"].clone();
    assert_eq!(ahead, made_for);
}

/// Each of these would widen what a job can reach.
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

//! What a job can see and do, as reported by the job itself.

use std::{fs, os::unix::fs::MetadataExt};

use bollard::models::HostConfig;
use orchestra_contracts::{JobId, JobSpec, Network, Resources};
use rstest::rstest;
use tokio::{sync::mpsc, time::Instant};

use super::{
    super::{
        create::Plan,
        session::{Limits, Sandbox},
    },
    lab::{
        LEASE, Lab, Running,
        Start::{self, Cold, Warm},
        run_spec,
    },
};
use crate::{
    control::Control,
    executor::{Executor, RunSpec},
    probe::{self, Held},
};

/// What the engine and the sandbox's own system call filter provide without any flags.
const KEPT_WITHOUT_FLAGS: &[&str] = &[
    "no new privileges",
    "seccomp",
    "masked paths",
    "read-only paths",
    "short memory",
    "processes",
    "PID 1",
    "sockets",
    "shared memory of processes",
    "environment",
];

fn probe(lab: &Lab) -> (Held, String) {
    let held_to = lab.executor.held_to(&Resources::default()).unwrap();
    let held = Held { held_to, master: None };
    let script = probe::script(&held);
    (held, script)
}

/// Checks each promise by its name in `probe/promises.rs`.
#[rstest]
#[tokio::test]
async fn every_promise_of_the_sandbox_is_kept(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let (held, script) = probe(&lab);
    let spec = JobSpec::new(script);
    let run = RunSpec { job: JobId(0), ..run_spec(spec) };
    let control = Control::new(Instant::now() + LEASE);
    let (sender, events) = mpsc::channel(4);
    let end = lab.executor.run(run, control.subscribe(), sender);
    let said = Running::new(control, events, end).end().await.success();
    let broken: Vec<_> = probe::judge(&said, &held).into_iter().filter(|check| !check.ok).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    lab.close().await;
}

/// Runs the probe in a container with the engine's defaults. A promise that holds there too is not
/// due to the flags.
#[tokio::test]
async fn the_probe_notices_a_container_without_the_flags() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let (held, script) = probe(&lab);
    let executor = &lab.executor;
    let image = executor.images.ensure("plain", mpsc::channel(1).0).await.unwrap();
    executor.template.volume.ensure(&executor.keeper, &image.id).await.unwrap();
    let plan = Plan { idle: LEASE, ..executor.template.plan(held.held_to.limits) };
    let mut request = plan.request(&image.id);
    let mounts = request.host_config.take().and_then(|flags| flags.mounts);
    request.host_config = Some(HostConfig { mounts, ..HostConfig::default() });
    (request.user, request.hostname, request.network_disabled) = (None, None, None);
    let container = executor.keeper.container("orchestra-loose-".to_owned() + &random_name());
    let create = executor.keeper.engine.create_with_retries(container.name(), request);
    Box::pin(create).await.unwrap();
    let mut sandbox = Sandbox::start(container, held.held_to.user).await.unwrap();
    let spec = run_spec(JobSpec::new(script));
    let job = executor.job(&spec, &[], Instant::now() + LEASE);
    let limits = Limits { timeout: job.timeout, grace: job.grace };
    let control = Control::new(Instant::now() + LEASE);
    assert!(sandbox.hand_over(&spec, job, control.subscribe()).await);
    let (sender, events) = mpsc::channel(4);
    let end = Box::pin(sandbox.run(&spec, limits, control.subscribe(), sender));
    let said = Running::new(control, events, end).end().await.success();
    let kept: Vec<_> = probe::judge(&said, &held)
        .into_iter()
        .filter(|check| check.ok)
        .map(|check| check.name)
        // On a machine without swap, this one cannot fail.
        .filter(|name| *name != "swap")
        .collect();
    assert_eq!(kept, KEPT_WITHOUT_FLAGS);
    lab.close().await;
}

fn random_name() -> String {
    format!("{:08x}", rand::random::<u32>())
}

#[rstest]
#[tokio::test]
async fn only_worker_files_and_tmp_can_be_written_to(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let command =
        "pwd; umask; echo kept > kept; mkdir folder; cp /bin/true /tmp/t && /tmp/t && echo runs
        for place in / /etc /usr/bin /orchestra /var/tmp /proc/sys/kernel/hostname; do
            { touch $place/x; } 2>/dev/null && echo $place is writable
        done; true";
    assert_eq!(lab.run(command).await.success(), "/work\n0022\nruns\n");
    let kept = lab.files().join("kept");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "kept\n");
    assert_eq!(kept.metadata().unwrap().uid(), lab.executor.worker_files.user.uid);
    assert_eq!(lab.run("cat kept").await.success(), "kept\n");
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn there_is_no_network_but_a_loopback(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '";
    assert_eq!(lab.run(interfaces).await.success(), "lo\n");
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn an_operator_can_allow_a_network_with_a_wall_around_it(#[values(Cold, Warm)] start: Start) {
    let arguments = ["--allow-network", "--max-warm", "2"];
    let Some(lab) = Lab::open_to(start, &arguments).await else { return };
    if start == Warm {
        // A sandbox with a network waits only after a job has asked for one.
        let spec = JobSpec { network: Network::Bridge, ..JobSpec::new("true") };
        lab.run_spec(spec).await.success();
        lab.until_warm(2).await;
    }
    let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort";
    let spec = JobSpec { network: Network::Bridge, ..JobSpec::new(interfaces) };
    assert!(lab.run_spec(spec).await.success().contains("eth0\n"));
    assert_eq!(lab.run(interfaces).await.success(), "lo\n", "only for those that ask");

    // A route that leads nowhere is marked with RTF_REJECT (`linux/route.h`), 0x200.
    let nowhere = "while read -r _ to _ flags _; do case $flags in 02*) echo $to;; esac; done \
                   < /proc/net/route; true";
    let spec = JobSpec { network: Network::Bridge, ..JobSpec::new(nowhere) };
    if start == Warm {
        lab.until_warm(2).await;
    }
    let walled = lab.run_spec(spec).await.success();
    assert!(walled.lines().any(|network| network == "0000FEA9"), "169.254.0.0: {walled}");
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn the_environment_is_exactly_ours(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let mut spec = JobSpec::new("env -u _ -u SHLVL -u PWD -u OLDPWD | sort");
    spec.env = [("MINE".to_owned(), "grüße; $HOME \"'".to_owned())].into();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let expected = format!(
        "FROM_IMAGE=yes\nHOME=/tmp\nLANG=C.UTF-8\nLOGNAME=job\nMINE=grüße; $HOME \"'\n\
         ORCHESTRA_ATTEMPT=1\nORCHESTRA_JOB_ID=7\nPATH={path}\nUSER=job\n"
    );
    assert_eq!(lab.run_spec(spec).await.success(), expected);
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn limits_hold(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let command = "ulimit -n; ulimit -c; df -k --output=size /tmp | tail -1
        head -c 300m /dev/zero > /tmp/full 2>/dev/null || echo full; rm /tmp/full
        for i in $(seq 300); do sleep 60 & done 2>&1 | grep -c -m1 'Resource temporarily unavailable'";
    let seen = lab.run(command).await;
    assert_eq!(seen.stdout(), "1024\n0\n   262144\nfull\n1\n", "{}", seen.stderr());
    lab.close().await;
}

#[rstest]
#[tokio::test]
async fn pid_1_keeps_its_secrets(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    let command = "for file in environ mem fd/0 fd/1; do
            { cat /proc/1/$file > /dev/null; } 2>/dev/null && echo $file is open
        done; { echo x > /proc/1/fd/1; } 2>/dev/null && echo writable; true";
    assert_eq!(lab.run(command).await.success(), "");
    lab.close().await;
}

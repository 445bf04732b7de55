//! Warm sandboxes: which job gets one, and what becomes of the others.

use std::{fs, time::Duration};

use bollard::query_parameters::KillContainerOptionsBuilder;
use orchestra_contracts::{JobSpec, Network, Outcome, Resources, Size, Workspace};
use tokio::time::{Instant, sleep};

use super::{
    super::{DockerExecutor, Parts, pool::Times},
    lab::{LEASE, Lab, Start::Warm, start_on},
};
use crate::{
    control::{Control, Stop},
    executor::Executor,
};

pub(super) fn quick() -> Parts {
    // Longer than it takes to make three on a busy machine.
    let (look, idle) = (Duration::from_millis(100), Duration::from_secs(8));
    Parts { times: Times { look, idle, ..Times::default() }, ..Parts::default() }
}

impl Lab {
    /// The ids of the waiting sandboxes.
    pub(super) async fn warm_ids(&self) -> Vec<String> {
        let all = self.all_containers().await.into_iter();
        all.filter(|(name, _)| name.starts_with("/orchestra-warm-")).map(|(_, id)| id).collect()
    }

    async fn kill(&self, id: &str) {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        self.executor.keeper.engine.docker().kill_container(id, Some(options)).await.unwrap();
    }

    pub(super) fn handed_over(&self) -> u64 {
        self.executor.pool.handed_over()
    }
}

#[tokio::test]
async fn each_goes_to_one_job_and_to_no_other() {
    let Some(lab) = Lab::open_to(Warm, &[]).await else { return };
    let mut used = Vec::new();
    for round in 0..4 {
        lab.until_warm(1).await;
        let [waits] = &lab.warm_ids().await[..] else { panic!("one waits") };
        let mut running =
            lab.start(JobSpec::new("ls -A /tmp; echo x > /tmp/mine; echo here; sleep 60"));
        running.until_output("here\n").await;
        let all = lab.all_containers().await;
        let (name, id) = all.iter().find(|(name, _)| name.starts_with("/orchestra-7-1-")).unwrap();
        assert_eq!(id, waits, "{name} did not wait for it");
        assert!(!used.contains(id), "round {round}: another job had it");
        used.push(id.clone());
        running.control.stop(Stop::Cancel);
        let seen = running.end().await;
        assert_eq!(
            (seen.outcome.clone(), seen.stdout()),
            (Outcome::Cancelled, "here\n".to_owned())
        );
    }
    assert_eq!(lab.handed_over(), 4);
    lab.close().await;
}

/// Prints everything a job can observe, except the numbers of processes, mounts and devices and the
/// time. The engine itself uses up between five and seven process numbers before PID 1, so the
/// sandbox's own tests compare `$$`.
pub(super) const LOOK: &str = "cat /proc/sys/kernel/hostname; tr '\\0' ' ' < /proc/1/cmdline; id; pwd; umask; ulimit -a
    env | sort; ls -A /tmp /dev/shm /dev /work /orchestra / /proc/self/fd; echo $PPID
    cut -d ' ' -f 4-5,6- /proc/self/mountinfo | sed -E 's/[0-9a-f]{64}/ID/g; s/[A-Z0-9]{26}/LAYER/g; s/(master|shared):[0-9]+//g' | sort
    cat /proc/1/limits /proc/1/oom_score_adj /proc/self/oom_score_adj; grep -E 'Cap|Seccomp|NoNew|Groups' /proc/self/status
    find /sys/fs/cgroup /sys/class/net -maxdepth 2 2> /dev/null | sort
    for file in memory.max memory.swap.max cpu.max pids.max memory/memory.limit_in_bytes \
        memory/memory.memsw.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us pids/pids.max; do
        [ -e /sys/fs/cgroup/$file ] && cat /sys/fs/cgroup/$file; done
    cat /etc/hosts /etc/hostname /etc/resolv.conf; cat /proc/self/cgroup | sed -E 's/[0-9a-f]{64}/ID/g'";

#[tokio::test]
async fn no_job_can_tell_whether_its_sandbox_waited_for_it() {
    let Some(lab) = Lab::open_to(Warm, &[]).await else { return };
    let mut config = lab.config.clone();
    config.warm = crate::WarmConfig::NONE;
    let cold = DockerExecutor::start(&config).await.unwrap();
    let memory = Some(Size::mib(100));
    let other = Resources { memory, cpus: Some(0.5), pids: Some(99), ..Resources::default() };
    for (round, resources) in [Resources::default(), other].into_iter().enumerate() {
        let spec = JobSpec { resources, ..JobSpec::new(LOOK) };
        let control = Control::new(Instant::now() + LEASE);
        let made = start_on(&cold, spec.clone(), control).end().await.success();
        let waited = lab.run_spec(spec).await.success();
        assert_eq!(lab.handed_over(), round as u64 + 1);
        for (made, waited) in made.lines().zip(waited.lines()) {
            assert_eq!(made, waited);
        }
        assert_eq!(made.lines().count(), waited.lines().count());
    }
    cold.close().await;
    lab.close().await;
}

#[tokio::test]
async fn limits_that_differ_are_set_before_the_job_begins() {
    let Some(lab) = Lab::open_to(Warm, &[]).await else { return };
    let files = "cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes \
        memory/memory.memsw.limit_in_bytes pids.max pids/pids.max cpu.max cpu/cpu.cfs_quota_us 2> /dev/null; true";
    let resources = Resources { pids: Some(20), cpus: Some(0.25), ..Resources::default() };
    let resources = Resources { memory: Some(Size::mib(64)), ..resources };
    let said = lab.run_spec(JobSpec { resources, ..JobSpec::new(files) }).await.success();
    for limit in ["67108864", "20", "25000"] {
        let of_line = |line: &str| line.split(' ').any(|word| word == limit);
        assert!(said.lines().any(of_line), "{limit}: {said}");
    }
    let larger = Resources { memory: Some(Size::mib(700)), ..Resources::default() };
    let fill = "head -c 600m /dev/zero | tail > /dev/null; echo held";
    let spec = JobSpec { resources: larger, ..JobSpec::new(fill) };
    assert_eq!(lab.run_spec(spec).await.success(), "held\n");
    assert_eq!(lab.handed_over(), 2);
    lab.close().await;
}

#[tokio::test]
async fn what_is_fixed_when_a_container_is_made_is_never_another() {
    let Some(lab) = Lab::open_to(Warm, &["--allow-network"]).await else { return };
    let tmp = Resources { tmp: Some(Size::mib(10)), ..Resources::default() };
    let size = "df --output=size -k /tmp | tail -1; ls -A; ls /sys/class/net";
    for (spec, said) in [
        (JobSpec { resources: tmp, ..JobSpec::new(size) }, " 10240\nlo\n"),
        (JobSpec { network: Network::Bridge, ..JobSpec::new(size) }, "262144\neth0\nlo\n"),
    ] {
        let seen = lab.run_spec(spec).await.success();
        assert_eq!(seen.trim_start(), said.trim_start());
    }
    assert_eq!(lab.handed_over(), 0);
    assert_eq!(lab.run(size).await.success().trim_start(), "262144\nlo\n");
    lab.close().await;
}

/// Its folder is created with it and is shared with nobody.
#[tokio::test]
async fn a_private_folder_waits_as_well_where_jobs_want_one() {
    let Some(lab) = Lab::open_with(&["--warm", "2"], Parts::default()).await else { return };
    lab.until_warm(2).await;
    fs::write(lab.files().join("shared"), "").unwrap();
    let command = "pwd; ls -A; stat -c %a:%u .; id -u; echo mine > left";
    let private = || JobSpec { workspace: Workspace::Private, ..JobSpec::new(command) };
    let made = lab.run_spec(private()).await.success();
    assert_eq!(lab.handed_over(), 0, "nobody has asked for one before");
    lab.until_warm(2).await;
    let waited = lab.run_spec(private()).await.success();
    assert_eq!(lab.handed_over(), 1);
    assert_eq!(made, waited);
    assert!(made.starts_with("/work\n700:"), "{made}");
    // Jobs with the shared folder have their own warm sandboxes.
    assert_eq!(lab.run("ls -A").await.success(), "shared\n");
    assert_eq!(lab.handed_over(), 2);
    lab.close().await;
}

#[tokio::test]
async fn one_that_somebody_killed_or_removed_costs_its_job_nothing() {
    let Some(lab) = Lab::open_with(&["--warm", "2"], Parts::default()).await else { return };
    for remove in [false, true] {
        lab.until_warm(2).await;
        for id in lab.warm_ids().await {
            if remove {
                lab.executor.keeper.engine.remove(&id).await.unwrap();
            } else {
                lab.kill(&id).await;
            }
        }
        assert_eq!(lab.run("echo fine").await.success(), "fine\n");
    }
    lab.until_warm(2).await;
    lab.run("true").await.success();
    lab.close().await;
}

#[tokio::test]
async fn one_that_died_is_noticed_and_made_anew() {
    let Some(lab) = Lab::open_with(&["--warm", "1"], quick()).await else { return };
    lab.until_warm(1).await;
    let id = lab.warm_ids().await.remove(0);
    lab.kill(&id).await;
    let noticed = async || lab.warm_ids().await.first().is_some_and(|found| *found != id);
    while !noticed().await || lab.executor.pool.waiting() != 1 {
        sleep(Duration::from_millis(20)).await;
    }
    lab.close().await;
}

#[tokio::test]
async fn an_edited_image_leaves_none_of_the_old_ones() {
    let Some(lab) = Lab::open_with(&["--warm", "1"], quick()).await else { return };
    lab.until_warm(1).await;
    let old = lab.warm_ids().await;
    let edited = format!("ARG BASE\nFROM ${{BASE}}\nENV EDITED={}\n", rand::random::<u32>());
    fs::write(lab.config.images.join("plain/Dockerfile"), edited).unwrap();
    // No job has asked for the new image yet, and it is not built.
    lab.until_warm(0).await;
    let seen = lab.run("echo ${EDITED:+new}").await;
    assert_eq!(seen.success(), "new\n");
    lab.until_warm(1).await;
    assert_ne!(lab.warm_ids().await, old);
    assert_eq!(lab.run("echo ${EDITED:+new}").await.success(), "new\n");
    assert_eq!(lab.handed_over(), 1);
    let image = lab.image().await;
    lab.close_and_forget(&image).await;
}

#[tokio::test]
async fn a_folder_that_was_made_anew_is_the_one_that_jobs_see() {
    let Some(lab) = Lab::open_to(Warm, &[]).await else { return };
    let (files, away) = (lab.files(), lab.files().with_extension("away"));
    let user = lab.executor.worker_files.user;
    fs::rename(&files, &away).unwrap();
    fs::create_dir(&files).unwrap();
    std::os::unix::fs::chown(&files, Some(user.uid), Some(user.gid)).unwrap();
    fs::write(files.join("new"), "").unwrap();
    assert_eq!(lab.run("ls").await.success(), "new\n");
    assert_eq!(lab.handed_over(), 0, "it still had the other one");
    assert_eq!(lab.run("ls").await.success(), "new\n");
    lab.close().await;
}

#[tokio::test]
async fn as_many_wait_as_were_needed_lately() {
    let arguments = ["--warm", "1", "--max-warm", "3"];
    let Some(lab) = Lab::open_with(&arguments, quick()).await else { return };
    lab.until_warm(1).await;
    let spec = || JobSpec::new("sleep 1");
    tokio::join!(
        lab.start(spec()).end(),
        lab.start(spec()).end(),
        lab.start(spec()).end(),
        lab.start(spec()).end()
    );
    lab.until_warm(3).await;
    lab.until_warm(1).await;
    lab.close().await;
}

#[tokio::test]
async fn none_are_made_while_a_job_waits_for_one_of_its_own() {
    let Some(lab) = Lab::open_with(&["--warm", "0"], quick()).await else { return };
    let config = crate::Config {
        warm: crate::WarmConfig { warm: Some(1), max_warm: None },
        ..lab.config.clone()
    };
    let second = DockerExecutor::start_with(&config, quick()).await.unwrap();
    let cold = second.pool.cold_start();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(second.pool.waiting(), 0);
    drop(cold);
    while second.pool.waiting() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    second.close().await;
    lab.close().await;
}

#[tokio::test]
async fn without_room_those_that_wait_go_and_none_are_made() {
    let Some(lab) = Lab::open_with(&["--warm", "1"], quick()).await else { return };
    room_comes_and_goes(&lab).await;
    lab.close().await;
}

/// A sandbox waits, except while the folder is gone, as it would be with its disk: a folder that
/// cannot be checked counts as full.
pub(super) async fn room_comes_and_goes(lab: &Lab) {
    lab.until_warm(1).await;
    let away = lab.files().with_extension("away");
    fs::rename(lab.files(), &away).unwrap();
    lab.until_warm(0).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(lab.warm_ids().await, [""; 0]);
    fs::rename(&away, lab.files()).unwrap();
    lab.until_warm(1).await;
}

#[tokio::test]
async fn those_of_a_killed_worker_end_in_time_and_the_next_one_removes_them() {
    const FENCE: Duration = Duration::from_secs(6);
    let Some(lab) = Lab::open(&[]).await else { return };
    let mut config = lab.config.clone();
    config.warm.warm = Some(1);
    let killed = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let times = Times { fence: FENCE, ..Times::default() };
        let executor = runtime.block_on(DockerExecutor::start_dead(&config, times));
        while executor.pool.waiting() == 0 {
            runtime.block_on(async { sleep(Duration::from_millis(5)).await });
        }
        // Without a runtime nothing can remove the container any more.
        drop(runtime);
        drop(executor);
    };
    std::thread::spawn(killed).join().unwrap();
    let ended = Instant::now();
    let id = lab.warm_ids().await.remove(0);
    let runs = async || {
        let state = lab.executor.keeper.engine.inspect(&id).await.unwrap().state;
        state.unwrap().running == Some(true)
    };
    assert!(runs().await, "it waits");
    while runs().await {
        assert!(ended.elapsed() < FENCE + Duration::from_secs(3), "it goes on");
        sleep(Duration::from_millis(100)).await;
    }
    lab.executor.tidy().await;
    assert_eq!(lab.warm_ids().await, [""; 0]);
    lab.close().await;
}

/// Whatever part of the work the engine has done by then.
#[tokio::test]
async fn a_job_that_is_cancelled_while_it_gets_one_leaves_nothing() {
    let Some(lab) = Lab::open_with(&["--warm", "1"], quick()).await else { return };
    for millis in [0, 1, 2, 3, 5, 8, 13, 21] {
        lab.until_warm(1).await;
        let running = lab.start(JobSpec::new("sleep 1000"));
        let control = running.control.clone();
        let stop = async {
            sleep(Duration::from_millis(millis)).await;
            control.stop(Stop::Cancel);
        };
        let (seen, ()) = tokio::join!(running.end(), stop);
        assert_eq!(seen.outcome, Outcome::Cancelled);
    }
    lab.executor_is_quiet().await;
    lab.close().await;
}

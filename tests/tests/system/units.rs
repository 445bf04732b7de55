//! The real `deploy/systemd`: a container that runs systemd, both units installed by the commands in
//! their comments, and what runbooks do with a service manager.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use orchestra_contracts::{JobId, JobStatus};
use orchestra_tests::{
    Api, engine, free_port,
    program::{self, Ran},
    repository, skip, turn, unique_name, wait,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    compose::{base, copy, copy_folder},
    deploy::docker,
};

const INIT: &str = "ARG BASE\nFROM ${BASE}\n\
    RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd systemd-sysv procps \
    && rm -rf /var/lib/apt/lists/*\n\
    CMD [\"/sbin/init\"]\n";
const CLIENT: &str = "/var/lib/orchestra/tokens/client/token";

/// Time limit for systemd to start, in seconds.
const BOOT: u32 = 60;

/// A container that acts as a separate machine, except for the engine. Dropping it removes it.
struct Machine {
    name: String,
    /// The worker's name.
    worker: String,
    folder: TempDir,
    port: u16,
}

impl Machine {
    /// Returns `None` where systemd does not start in a container of this engine.
    async fn boot() -> Option<Self> {
        let mut machine = Self {
            name: unique_name("units-test"),
            worker: String::new(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            port: free_port(),
        };
        machine.prepare().await;
        let srv = format!("{}:/srv", machine.path("srv"));
        let root = format!("{}:/root:ro", machine.path("root"));
        let orchestra = format!("{}:/usr/local/bin/orchestra:ro", program::path().display());
        let socket = format!("{}:/var/run/docker.sock", engine::socket()?.display());
        let port = format!("127.0.0.1:{}:5216", machine.port);
        // The units' sandboxing options make mounts, which need this capability.
        let mut run = vec!["run", "--detach", "--name", &machine.name, "--cap-add", "SYS_ADMIN"];
        run.extend(["--security-opt", "seccomp=unconfined"]);
        run.extend(["--security-opt", "apparmor=unconfined"]);
        // systemd makes cgroups of its own, which under cgroups v2 need the host's hierarchy.
        let second = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let (groups, mount) = if second {
            ("host", "/sys/fs/cgroup:/sys/fs/cgroup:rw")
        } else {
            ("private", "/sys/fs/cgroup:/sys/fs/cgroup:ro")
        };
        run.extend(["--cgroupns", groups, "--volume", mount]);
        run.extend(["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"]);
        run.extend(["--volume", &srv, "--volume", &root, "--volume", &orchestra]);
        run.extend(["--volume", &socket, "--publish", &port, &machine.name]);
        let id = docker(&run).await.expect(0).stdout;
        // The host name of a container is the first twelve digits of its id, and names the worker.
        machine.worker = id.chars().take(12).collect();
        for _ in 0..BOOT {
            // Failures of Debian's own units in a container do not matter.
            let state = machine.shell("systemctl is-system-running || true").await.stdout;
            if ["running", "degraded"].contains(&state.trim()) {
                return Some(machine);
            }
            sleep(Duration::from_secs(1)).await;
        }
        None
    }

    /// Makes the image, with the files that a person needs to install the units.
    async fn prepare(&self) {
        for unit in ["orchestra-master.service", "orchestra-worker.service"] {
            let from = repository().join("deploy/systemd").join(unit);
            copy(&from, &self.folder.path().join("root").join(unit));
        }
        copy_folder(&repository().join("images"), &self.folder.path().join("root/images"));
        fs::create_dir(self.path("srv")).expect("a folder of our own");
        fs::create_dir(self.path("image")).expect("a folder of our own");
        fs::write(self.path("image/Dockerfile"), INIT).expect("a file of our own");
        let (base, context) = (format!("BASE={}", base().await), self.path("image"));
        let build = ["build", "--quiet", "--build-arg", &base, "--tag", &self.name, &context];
        let _ = docker(&build).await.expect(0);
    }

    fn path(&self, path: &str) -> String {
        self.folder.path().join(path).display().to_string()
    }

    async fn shell(&self, script: &str) -> Ran {
        let script = format!("cd /root\nexport ORCHESTRA_DATA=/var/lib/orchestra\n{script}");
        docker(&["exec", &self.name, "bash", "-euo", "pipefail", "-c", &script]).await
    }

    /// The output of a script that must succeed.
    async fn says(&self, script: &str) -> String {
        self.shell(script).await.expect(0).stdout.trim().to_owned()
    }

    /// Runs the commands in the unit's first comment. The settings come from `settings` instead.
    async fn install(&self, what: &str, settings: &str) {
        let file = repository().join(format!("deploy/systemd/orchestra-{what}.service"));
        let text = fs::read_to_string(file).expect("a file of the repository");
        let steps = text.lines().filter_map(|line| line.strip_prefix("#   "));
        let steps: Vec<&str> = steps.filter(|step| !step.starts_with("ORCHESTRA_")).collect();
        assert!(steps.len() >= 3 && steps[steps.len() - 1].contains("enable --now"), "{steps:?}");
        let settings = format!(
            "install -d /etc/orchestra\ncat > /etc/orchestra/{what}.env <<'END'\n{settings}END\n"
        );
        let _ = self.shell(&(settings + &steps.join("\n"))).await.expect(0);
    }

    async fn journal(&self, unit: &str) -> String {
        self.says(&format!("journalctl --no-pager --unit {unit}")).await
    }

    async fn api(&self) -> Api {
        let client = wait::until("the master's tokens", wait::START, async || {
            let ran = self.shell(&format!("cat {CLIENT}")).await;
            (ran.code == Some(0)).then_some(ran.stdout)
        });
        let api = Api::new(format!("http://127.0.0.1:{}", self.port));
        api.with_token(client.await.trim())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for arguments in [&["rm", "--force", "--volumes"][..], &["rmi", "--force"]] {
            let mut command = Command::new("docker");
            command.args(arguments).arg(&self.name);
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        engine::remove_containers(vec![std::mem::take(&mut self.worker)]);
    }
}

async fn ready(api: &Api) {
    wait::until("the worker to be online", wait::START, async || {
        api.try_workers().await?.iter().any(|worker| worker.online).then_some(())
    })
    .await;
}

/// A job that has started and runs for a few more seconds.
async fn under_way(api: &Api) -> JobId {
    let job = api.submit(&json!({"command": "echo begun; sleep 5; echo done"})).await;
    wait::until("the job's first line", wait::JOB, async || {
        (&*api.log(job.id, "").await == b"begun\n").then_some(())
    })
    .await;
    job.id
}

#[tokio::test]
async fn units_are_installed_as_they_say_and_bear_the_runbooks() {
    if !engine::is_there().await {
        return;
    }
    let _turn = turn().await;
    program::job_image().await;
    let Some(machine) = Machine::boot().await else {
        return skip("units", "no systemd comes up in a container of this engine");
    };
    machine.install("master", "ORCHESTRA_LISTEN=0.0.0.0:5216\n").await;
    let api = machine.api().await;
    let token =
        "install -m 0600 /var/lib/orchestra/tokens/worker/token /etc/orchestra/worker.token";
    let settings =
        "ORCHESTRA_URL=http://127.0.0.1:5216\nORCHESTRA_TOKEN_FILE=/etc/orchestra/worker.token\n";
    let _ = machine.shell(&format!("install -d /etc/orchestra\n{token}")).await.expect(0);
    machine.install("worker", settings).await;
    ready(&api).await;
    let job = api.run(&json!({"command": "id -u; pwd; touch here"})).await;
    assert_eq!((job.status, &*job.output), (JobStatus::Completed, "1000\n/work\n"), "{job:?}");
    assert!(Path::new(&machine.path("srv/worker-files/here")).is_file());

    settings_are_read_again(&machine).await;
    a_killed_master_comes_back(&machine, &api).await;
    what_is_restored_can_be_served(&machine, &api).await;
    an_ended_worker_hands_its_job_back(&machine, &api).await;

    let _ = machine.shell("systemctl stop orchestra-worker orchestra-master").await.expect(0);
    assert_eq!(engine::containers_left(&machine.worker).await, Vec::<String>::new());
    let failed =
        machine.says("systemctl list-units --failed --plain --no-legend 'orchestra*'").await;
    assert_eq!(failed, "", "{}", machine.journal("orchestra-worker").await);
}

async fn settings_are_read_again(machine: &Machine) {
    let pid = "systemctl show --property MainPID --value orchestra-master";
    let before = machine.says(pid).await;
    let change = "echo ORCHESTRA_KEEP_LOGS=7d >> /etc/orchestra/master.env
        systemctl reload orchestra-master";
    let _ = machine.shell(change).await.expect(0);
    wait::until("the setting to be taken up", wait::SOON, async || {
        machine.journal("orchestra-master").await.contains("what is kept has changed").then_some(())
    })
    .await;
    assert_eq!(machine.says(pid).await, before, "it is the same process");
}

/// `Restart=on-failure` restarts it, and nothing is lost.
async fn a_killed_master_comes_back(machine: &Machine, api: &Api) {
    let job = under_way(api).await;
    let _ = machine.shell("systemctl kill --signal KILL orchestra-master").await.expect(0);
    let restarts = "systemctl show --property NRestarts --value orchestra-master";
    wait::until("it to be started again", wait::START, async || {
        (machine.says(restarts).await == "1").then_some(())
    })
    .await;
    ready(api).await;
    let ended = api.finished(job).await;
    assert_eq!(
        (ended.status, &*ended.output),
        (JobStatus::Completed, "begun\ndone\n"),
        "{ended:?}"
    );
    assert_eq!(api.attempts(job).await.len(), 1);
}

/// Root restores the backup, although the master runs as another user.
async fn what_is_restored_can_be_served(machine: &Machine, api: &Api) {
    let before = api.jobs("").await.len();
    let restore = "orchestra admin backup /var/tmp/backup.db
        systemctl stop orchestra-master
        orchestra admin restore /var/tmp/backup.db
        systemctl start orchestra-master";
    let _ = machine.shell(restore).await.expect(0);
    ready(api).await;
    assert_eq!(api.jobs("").await.len(), before);
}

/// SIGTERM, within the unit's stop timeout. The job continues when the worker is back.
async fn an_ended_worker_hands_its_job_back(machine: &Machine, api: &Api) {
    let change = "echo ORCHESTRA_GRACE=1s >> /etc/orchestra/worker.env
        systemctl restart orchestra-worker";
    let _ = machine.shell(change).await.expect(0);
    ready(api).await;
    let job = under_way(api).await;
    let _ = machine.shell("systemctl stop orchestra-worker").await.expect(0);
    assert_eq!(api.job(job).await.status, JobStatus::Pending);
    let _ = machine.shell("systemctl start orchestra-worker").await.expect(0);
    let ended = api.finished(job).await;
    assert_eq!(
        (ended.status, api.attempts(job).await.len()),
        (JobStatus::Completed, 2),
        "{ended:?}"
    );
    // The log of a job includes all its attempts.
    assert_eq!(&*api.log(job, "").await, b"begun\nbegun\ndone\n");
}

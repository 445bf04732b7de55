//! Warm sandboxes with a network: each has the same wall as one made at that moment, or no job gets
//! it.

use std::{thread, time::Duration};

use bollard::models::{NetworkCreateRequest, NetworkDisconnectRequest};
use orchestra_contracts::{JobSpec, Network};
use tokio::{
    runtime,
    time::{Instant, sleep},
};

use super::{
    super::{DockerExecutor, Parts, network, pool::Times},
    lab::{LEASE, Lab, other_network, start_on},
    pool::{LOOK, quick, room_comes_and_goes},
    restarts::lab_on_its_own_with,
};
use crate::{control::Control, executor::Executor};

/// Other users of this machine may change its networks meanwhile.
const TRIES: usize = 20;

/// What is behind the wall, according to the kernel: `RTF_REJECT` (`linux/route.h`) is 0x200.
const WALL: &str = "while read -r _ to _ flags _ _ _ mask _; do
    case $flags in 02*) echo $to/$mask;; esac; done < /proc/net/route | sort";

/// Uses the shell only, because the image on this engine has no `ls`.
const INTERFACES: &str = "echo /sys/class/net/*";

fn bridged(command: &str) -> JobSpec {
    JobSpec { network: Network::Bridge, ..JobSpec::new(command) }
}

impl Lab {
    /// Runs a job until one found a warm sandbox, and returns its output.
    async fn run_waited(&self, command: &str) -> String {
        for _ in 0..TRIES {
            while self.executor.pool.waiting() < 2 {
                sleep(Duration::from_millis(20)).await;
            }
            let before = self.handed_over();
            let said = self.run_spec(bridged(command)).await.success();
            if self.handed_over() > before {
                return said;
            }
        }
        panic!("no sandbox with a network was ever handed over");
    }

    async fn add_network(&self) -> String {
        let name = other_network(&self.config.name);
        let request = NetworkCreateRequest { name, ..NetworkCreateRequest::default() };
        self.executor.keeper.engine.create_network(request).await.unwrap()
    }
}

/// It has the same interfaces and the same wall as one that is made for its job.
#[tokio::test]
async fn one_with_a_network_waits_as_well_where_jobs_want_one() {
    let arguments = ["--warm", "2", "--max-warm", "2", "--allow-network"];
    let Some(lab) = Lab::open_with(&arguments, quick()).await else { return };
    let mut config = lab.config.clone();
    config.warm = crate::WarmConfig::NONE;
    let cold = DockerExecutor::start(&config).await.unwrap();
    let look = format!(
        "{WALL}; echo; {LOOK}; tail -n +3 /proc/net/dev | cut -d: -f1; ls /proc/sys/net/ipv4/conf"
    );
    // Every job has an address of its own.
    let own = |line: &&str| !line.starts_with("172.") && !line.starts_with("192.168.");
    lab.run_spec(bridged("true")).await.success();
    for _ in 0..TRIES {
        let waited = lab.run_waited(&look).await;
        let control = Control::new(Instant::now() + LEASE);
        let made = start_on(&cold, bridged(&look), control).end().await.success();
        let [(wall, waited), (made_wall, made)] =
            [&waited, &made].map(|said| said.split_once("\n\n").unwrap());
        if wall == made_wall {
            assert!(wall.lines().any(|route| route.starts_with("0000FEA9/")), "{wall}");
            let [waited, made]: [Vec<_>; 2] =
                [waited, made].map(|said| said.lines().filter(own).collect());
            assert_eq!(waited, made);
            cold.close().await;
            return lab.close().await;
        }
    }
    panic!("the walls never were the same");
}

#[tokio::test]
async fn a_wall_that_is_not_right_any_more_is_nobodys() {
    let arguments = ["--warm", "2", "--max-warm", "2", "--allow-network"];
    // No check of the waiting sandboxes comes in this time.
    let Some(lab) = Lab::open_with(&arguments, Parts::default()).await else { return };
    lab.run_spec(bridged("true")).await.success();
    let before = lab.run_waited(WALL).await;
    while lab.executor.pool.waiting() < 2 {
        sleep(Duration::from_millis(20)).await;
    }
    let network = lab.add_network().await;
    let after = lab.run_spec(bridged(WALL)).await.success();
    // Whether it waited or was made anew, it is walled off from the new network. The wall splits
    // each network into halves.
    lab.executor.keeper.engine.remove_network(&network).await.unwrap();
    let new = after.lines().filter(|route| !before.contains(route)).count();
    assert!(new >= 2, "{before}\n{after}");
    lab.close().await;
}

#[tokio::test]
async fn those_whose_wall_is_not_right_any_more_are_made_anew_before_anybody_asks() {
    let arguments = ["--warm", "1", "--max-warm", "1", "--allow-network"];
    let Some(lab) = Lab::open_with(&arguments, quick()).await else { return };
    lab.run_spec(bridged("true")).await.success();
    lab.until_warm(1).await;
    let old = lab.warm_ids().await;
    let network = lab.add_network().await;
    let gone = async || {
        let now = lab.warm_ids().await;
        lab.executor.pool.waiting() == 1 && !now.iter().any(|id| old.contains(id))
    };
    while !gone().await {
        sleep(Duration::from_millis(50)).await;
    }
    lab.executor.keeper.engine.remove_network(&network).await.unwrap();
    lab.close().await;
}

/// The name is the same, but the waiting sandboxes have lost their network.
#[tokio::test]
async fn a_network_that_was_removed_and_made_anew_is_another() {
    let arguments = ["--warm", "2", "--max-warm", "2", "--allow-network"];
    let Some((lab, daemon)) = lab_on_its_own_with(false, &arguments).await else { return };
    let both = "/sys/class/net/eth0 /sys/class/net/lo\n";
    assert_eq!(lab.run_spec(bridged(INTERFACES)).await.success(), both);
    assert_eq!(lab.run_waited(INTERFACES).await, both);
    while lab.executor.pool.waiting() < 2 {
        sleep(Duration::from_millis(20)).await;
    }
    let engine = &lab.executor.keeper.engine;
    let (old, _) = network::ensure(engine).await.unwrap();
    let on_it = engine.docker().inspect_network(&old, None).await.unwrap().containers;
    let on_it: Vec<_> = on_it.unwrap_or_default().into_keys().collect();
    assert!(!on_it.is_empty(), "one waits");
    for container in on_it {
        let request = NetworkDisconnectRequest { container, force: Some(true) };
        engine.docker().disconnect_network(&old, request).await.unwrap();
    }
    engine.remove_network(&old).await.unwrap();
    assert_ne!(network::ensure(engine).await.unwrap().0, old);
    let before = lab.handed_over();
    assert_eq!(lab.run_spec(bridged(INTERFACES)).await.success(), both);
    assert_eq!(lab.handed_over(), before, "it got one without a network");
    assert_eq!(lab.run_waited(INTERFACES).await, both);
    lab.close().await;
    drop(daemon);
}

#[tokio::test]
async fn one_with_a_network_is_taken_back_with_its_wall() {
    let Some(lab) = Lab::open(&["--allow-network"]).await else { return };
    let mut config = lab.config.clone();
    (config.warm.warm, config.warm.max_warm) = (Some(2), Some(2));
    let command = format!("{WALL}; echo ready; until [ -e go ]; do sleep 0.02; done; {WALL}");
    let killed = move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let executor = runtime.block_on(DockerExecutor::start_dead(&config, Times::default()));
        let start = |command: &str| {
            start_on(&executor, bridged(command), Control::new(Instant::now() + LEASE))
        };
        let running = runtime.block_on(async {
            start("true").end().await.success();
            while executor.pool.waiting() < 2 {
                sleep(Duration::from_millis(20)).await;
            }
            let mut running = start(&command);
            running.until_output("ready\n").await;
            running
        });
        // Without a runtime nothing can remove the container any more.
        drop(runtime);
        drop(running);
    };
    thread::spawn(killed).join().unwrap();
    let running = lab.take_back(0).await;
    lab.go();
    let said = running.end().await.success();
    let (before, after) = said.split_once("ready\n").unwrap();
    assert!(!before.is_empty(), "there is no wall");
    assert_eq!(before, after);
    lab.close().await;
}

#[tokio::test]
async fn without_room_one_with_a_network_goes_as_well() {
    let arguments = ["--warm", "1", "--max-warm", "1", "--allow-network"];
    let Some(lab) = Lab::open_with(&arguments, quick()).await else { return };
    lab.run_spec(bridged("true")).await.success();
    room_comes_and_goes(&lab).await;
    lab.close().await;
}

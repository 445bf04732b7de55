//! The worker's settings: flags, each with an environment variable.

mod images;
mod warm;

use std::{collections::BTreeSet, fmt, net::IpAddr, num::NonZero, path::PathBuf, str::FromStr};

use clap::builder::RangedU64ValueParser;
use ipnet::Ipv4Net;
use orchestra_contracts::{Demand, Network, Resources, Size, Span, WorkerName, worker::Offer};

pub use self::{images::ImagesConfig, warm::WarmConfig};
use crate::{credentials::Credentials, labels};

/// The settings of a worker. They are flattened into the commands that run one.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The master's address
    #[arg(long, env = "ORCHESTRA_URL", default_value = "http://127.0.0.1:5216")]
    pub url: String,

    #[command(flatten)]
    pub credentials: Credentials,

    /// The worker's name; it must be unique among the workers of a master
    #[arg(long = "name", env = "ORCHESTRA_WORKER_NAME", default_value_t = host_name())]
    pub name: WorkerName,

    /// How many jobs to run at once
    #[arg(long, env = "ORCHESTRA_SLOTS", default_value_t = cores(),
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=1024))]
    pub slots: u32,

    /// The queues to serve, separated by commas
    #[arg(long, env = "ORCHESTRA_QUEUES", default_value = "default", value_delimiter = ',')]
    pub queues: Vec<String>,

    /// Labels that jobs may require, separated by commas: gpu=yes,zone=a. The label `arch` is added
    /// automatically
    #[arg(long, env = "ORCHESTRA_LABELS", value_name = "KEY=VALUE", value_delimiter = ',',
          value_parser = labels::read)]
    pub labels: Vec<(String, String)>,

    /// The folder that jobs share and run in; created if missing
    #[arg(long, env = "ORCHESTRA_WORKER_FILES", default_value = "./worker-files")]
    pub worker_files: PathBuf,

    /// Claim no jobs when less than this is free on the disk of worker-files; 0 turns this off
    #[arg(long, env = "ORCHESTRA_MIN_FREE", value_name = "SIZE", default_value_t = Size::mib(128))]
    pub min_free_files: Size,

    /// The folder of job images, with one folder and Dockerfile per image; if it is missing, the
    /// built-in gcc, node and python are used
    #[arg(long, env = "ORCHESTRA_IMAGES", default_value = "./images")]
    pub images: PathBuf,

    #[command(flatten)]
    pub image_rules: ImagesConfig,

    /// The image for jobs that name none
    #[arg(long, env = "ORCHESTRA_DEFAULT_IMAGE", default_value = "gcc")]
    pub default_image: String,

    /// The container engine
    #[arg(long, env = "DOCKER_HOST", default_value = "unix:///var/run/docker.sock")]
    pub engine: String,

    /// How long jobs may continue at shutdown before they are handed back; also the time between
    /// SIGTERM and SIGKILL when a job is ended
    #[arg(long, env = "ORCHESTRA_GRACE", default_value_t = Span::from_secs(10))]
    pub grace: Span,

    #[command(flatten)]
    pub warm: WarmConfig,

    #[command(flatten)]
    pub sandbox: SandboxConfig,
}

/// The limits of every job of this worker.
#[derive(Clone, Debug, clap::Args)]
pub struct SandboxConfig {
    /// Allow jobs to ask for a network that leads out of the machine; this machine, the master and
    /// the engine's other networks stay unreachable
    #[arg(long, env = "ORCHESTRA_ALLOW_NETWORK")]
    pub allow_network: bool,

    /// Additional networks that no job may reach, such as 10.0.0.0/8,192.168.0.0/16
    #[arg(long, env = "ORCHESTRA_DENY_NETWORKS", value_name = "NETWORKS", value_delimiter = ',')]
    pub deny_networks: Vec<Ipv4Net>,

    /// Name servers for jobs with a network, instead of the engine's
    #[arg(long, env = "ORCHESTRA_JOB_DNS", value_name = "ADDRESSES", value_delimiter = ',')]
    pub job_dns: Vec<IpAddr>,

    /// Run jobs as this user, uid or uid:gid [default: the owner of worker-files]
    #[arg(long, env = "ORCHESTRA_JOB_USER", value_name = "UID[:GID]")]
    pub job_user: Option<JobUser>,

    /// The engine's runtime for job containers, for example runsc
    #[arg(long, env = "ORCHESTRA_RUNTIME")]
    pub runtime: Option<String>,

    /// Memory of a job that does not specify it
    #[arg(long, env = "ORCHESTRA_MEMORY", default_value_t = Size::mib(512))]
    pub memory: Size,

    /// The maximum memory that a job may ask for
    #[arg(long, env = "ORCHESTRA_MAX_MEMORY", default_value_t = Size::mib(4096))]
    pub max_memory: Size,

    /// CPU cores of a job that does not specify them
    #[arg(long, env = "ORCHESTRA_CPUS", default_value_t = 1.0, value_parser = some_cores)]
    pub cpus: f64,

    /// The maximum number of cores that a job may ask for
    #[arg(long, env = "ORCHESTRA_MAX_CPUS", default_value_t = f64::from(cores()),
          value_parser = some_cores)]
    pub max_cpus: f64,

    /// Limit of processes and threads for a job that does not specify it
    #[arg(long, env = "ORCHESTRA_PIDS", default_value_t = 256)]
    pub pids: u32,

    /// The maximum number of processes and threads that a job may ask for
    #[arg(long, env = "ORCHESTRA_MAX_PIDS", default_value_t = 4096)]
    pub max_pids: u32,

    /// Size of /tmp for a job that does not specify it; counts as memory
    #[arg(long, env = "ORCHESTRA_TMP", default_value_t = Size::mib(256))]
    pub tmp: Size,

    /// The largest /tmp that a job may ask for
    #[arg(long, env = "ORCHESTRA_MAX_TMP", default_value_t = Size::mib(1024))]
    pub max_tmp: Size,

    /// The largest file that a job may write, in worker-files or elsewhere
    #[arg(long, env = "ORCHESTRA_FILE_SIZE", default_value_t = Size::mib(4096))]
    pub file_size: Size,

    /// How much of the beginning of a job's output is kept
    #[arg(long, env = "ORCHESTRA_LOG_HEAD", default_value_t = Size::mib(16))]
    pub log_head: Size,

    /// How much of the end of a longer output is kept
    #[arg(long, env = "ORCHESTRA_LOG_TAIL", default_value_t = Size::mib(1))]
    pub log_tail: Size,
}

/// A job's limits, all resolved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub cpus: f64,
    pub memory: Size,
    pub pids: u32,
    pub tmp: Size,
}

impl SandboxConfig {
    /// The limits of a job that asks for `wanted`. The error is the sentence that refuses it.
    pub fn limits(&self, wanted: &Resources) -> Result<Limits, String> {
        let demand = Demand { resources: *wanted, ..Demand::default() };
        if let Some(excess) = self.offer().excesses(&demand).first() {
            return Err(excess.to_string());
        }
        let usual = self.usual_limits();
        Ok(Limits {
            cpus: wanted.cpus.unwrap_or(usual.cpus),
            memory: wanted.memory.unwrap_or(usual.memory),
            pids: wanted.pids.unwrap_or(usual.pids),
            tmp: wanted.tmp.unwrap_or(usual.tmp),
        })
    }

    /// The limits of a job that asks for nothing in particular.
    pub fn usual_limits(&self) -> Limits {
        Limits { cpus: self.cpus, memory: self.memory, pids: self.pids, tmp: self.tmp }
    }

    /// The most that a job may ask for. The images are not included; they come from the images
    /// folder.
    pub fn offer(&self) -> Offer {
        Offer {
            cpus: self.max_cpus,
            memory: self.max_memory,
            pids: self.max_pids,
            tmp: self.max_tmp,
            network: if self.allow_network { Network::Bridge } else { Network::None },
            images: BTreeSet::new(),
            references: [].into(),
            runtime: self.runtime.clone(),
            user: self.job_user.map(|user| user.to_string()),
        }
    }
}

fn some_cores(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(cores) if f64::is_finite(cores) && cores > 0.0 => Ok(cores),
        _ => Err("a number of cores is above 0, like 2 or 0.5"),
    }
}

/// The numeric user and group that jobs run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobUser {
    pub uid: u32,
    pub gid: u32,
}

impl fmt::Display for JobUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl FromStr for JobUser {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        match (uid.parse(), gid.parse()) {
            (Ok(uid), Ok(gid)) => Ok(Self { uid, gid }),
            _ => Err("a job user is a number, or two like 1000:1000"),
        }
    }
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, NonZero::get) as u32
}

/// This machine's name, as far as it is valid as a worker's name.
pub(crate) fn host_name() -> WorkerName {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    worker_name_of(&node)
}

fn worker_name_of(host: &str) -> WorkerName {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = host
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(64)
        .collect();
    name.parse().unwrap_or_else(|_| "worker".parse().expect("it is a worker name"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        config: Config,
    }

    fn config(arguments: &[&str]) -> Result<Config, clap::Error> {
        Program::try_parse_from([&["program"], arguments].concat()).map(|program| program.config)
    }

    #[test]
    fn nothing_has_to_be_said() {
        let config = config(&[]).unwrap();
        assert_eq!(config.queues, ["default"]);
        assert_eq!(config.sandbox.memory, Size::mib(512));
        assert!(!config.sandbox.allow_network);
    }

    #[test]
    fn labels_are_parted_by_commas() {
        let config = config(&["--labels", "gpu=yes,zone=a"]).unwrap();
        let labels = [("gpu", "yes"), ("zone", "a")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(config.labels, labels);
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            ["--slots", "0"],
            ["--name", "a b"],
            ["--memory", "much"],
            ["--job-user", "me"],
            ["--cpus", "0"],
            ["--max-cpus", "NaN"],
            ["--max-cpus", "inf"],
            ["--labels", "gpu"],
            ["--labels", "gpu=yes,"],
        ] {
            assert!(config(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_host_has_a_worker_name() {
        for (host, name) in [("box", "box"), ("-a b", "a-b"), ("über", "ber"), ("", "worker")] {
            assert_eq!(worker_name_of(host).as_str(), name);
        }
    }

    #[test]
    fn a_job_gets_the_defaults_or_what_it_asks_for_within_the_limits() {
        let sandbox = config(&["--max-memory", "1g"]).unwrap().sandbox;
        let wanted = Resources { pids: Some(10), ..Resources::default() };
        let limits = sandbox.limits(&wanted).unwrap();
        assert_eq!((limits.pids, limits.memory), (10, Size::mib(512)));
        let wanted = Resources { memory: Some(Size::mib(2048)), ..Resources::default() };
        assert_eq!(
            sandbox.limits(&wanted).unwrap_err(),
            "it asks for resources.memory = 2g, and this worker allows at most 1g"
        );
    }

    #[test]
    fn a_job_user_is_one_number_or_two() {
        assert_eq!("1000".parse(), Ok(JobUser { uid: 1000, gid: 1000 }));
        assert_eq!("1000:100".parse(), Ok(JobUser { uid: 1000, gid: 100 }));
        assert!("1000:".parse::<JobUser>().is_err());
    }
}

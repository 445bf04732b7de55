//! The master's settings: flags, each with an environment variable.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use ipnet::IpNet;
use orchestra_contracts::{Size, Span, Token};

use crate::{
    courier::Reachable,
    domain::RetryPolicy,
    error::MasterError,
    http::{Hosts, Tls},
    service::{Keep, Retention, Settings},
    store::LogCodec,
};

/// Settings of a master.
#[derive(Args, Clone)]
#[group(id = "MasterConfig")] // `orchestra up` takes a worker's `Config` as well
pub struct Config {
    /// Address and port to listen on
    #[arg(
        long,
        env = "ORCHESTRA_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:5216"
    )]
    pub listen: SocketAddr,

    /// Folder for all stored data
    #[arg(long, env = "ORCHESTRA_DATA", value_name = "FOLDER", default_value = ".orchestra")]
    pub data: PathBuf,

    /// Database [default: an SQLite file in the data folder]
    #[arg(long, env = "ORCHESTRA_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Require a token from everybody, and keep one for each role in this folder: ROLE/token;
    /// missing ones are created
    #[arg(long, env = "ORCHESTRA_TOKENS", value_name = "FOLDER")]
    pub tokens: Option<PathBuf>,

    /// The key that encrypts secrets: 64 hexadecimal digits; created if missing [default:
    /// secret.key in the data folder]
    #[arg(long, env = "ORCHESTRA_SECRET_KEY_FILE", value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,

    /// Let everybody who can reach the address, whatever it is, run anything
    #[arg(long, env = "ORCHESTRA_ALLOW_ANYONE", conflicts_with = "tokens")]
    pub allow_anyone: bool,

    /// Use TLS, with the certificate in this file (PEM, with the chain to its authority); a renewed
    /// certificate is loaded without a restart
    #[arg(long, env = "ORCHESTRA_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM)
    #[arg(long, env = "ORCHESTRA_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Additional host names of the master, separated by commas
    #[arg(long, env = "ORCHESTRA_HOSTS", value_name = "NAMES", value_delimiter = ',')]
    pub hosts: Vec<String>,

    /// A token that this process lends to a part of itself. Not a setting: it never leaves the
    /// process.
    #[arg(skip)]
    pub lent: Option<Token>,

    /// Accept and hand out no new jobs when less than this is free on the database's disk; 0 turns
    /// this off
    #[arg(long, env = "ORCHESTRA_MIN_FREE", value_name = "SIZE", default_value_t = Size::mib(128))]
    pub min_free: Size,

    /// Compression of stored logs: `lz4`, or `zstd`, which is smaller; masters older than this setting
    /// cannot read it
    #[arg(long, env = "ORCHESTRA_LOG_CODEC", value_name = "NAME", default_value_t)]
    pub log_codec: LogCodec,

    /// Limit of concurrent requests that read a log or wait for a job's end
    #[arg(long, env = "ORCHESTRA_MAX_STREAMS", value_name = "NUMBER", default_value_t = 8192)]
    pub max_streams: usize,

    /// Size limit for the artifacts of one attempt
    #[arg(long, env = "ORCHESTRA_ARTIFACTS_LIMIT", value_name = "SIZE", default_value_t = Size::mib(256))]
    pub artifacts_limit: Size,

    /// Size limit for one file that is uploaded for jobs
    #[arg(long, env = "ORCHESTRA_UPLOAD_LIMIT", value_name = "SIZE", default_value_t = Size::mib(256))]
    pub upload_limit: Size,

    /// A file of lines NAME=VALUE that is read again on SIGHUP: changes of logging and retention
    /// apply at once, for all others the log says that they need a restart
    #[arg(long, env = "ORCHESTRA_SETTINGS", value_name = "FILE")]
    pub settings_file: Option<PathBuf>,

    /// Delete ended jobs, with their logs and artifacts, after this time [default: never]
    #[arg(long, env = "ORCHESTRA_KEEP_JOBS", value_name = "TIME")]
    pub keep_jobs: Option<Span>,

    /// How many ended jobs to keep, the most recent ones [default: all]
    #[arg(long, env = "ORCHESTRA_KEEP_JOB_COUNT", value_name = "NUMBER")]
    pub keep_job_count: Option<u64>,

    /// Delete logs this long after the end of their jobs; the jobs stay [default: never]
    #[arg(long, env = "ORCHESTRA_KEEP_LOGS", value_name = "TIME")]
    pub keep_logs: Option<Span>,

    /// How many bytes of logs of ended jobs to keep, of the most recent ones [default: all]
    #[arg(long, env = "ORCHESTRA_KEEP_LOG_BYTES", value_name = "SIZE")]
    pub keep_log_bytes: Option<Size>,

    /// Delete artifacts this long after the end of their jobs; the jobs stay [default: never]
    #[arg(long, env = "ORCHESTRA_KEEP_ARTIFACTS", value_name = "TIME")]
    pub keep_artifacts: Option<Span>,

    /// How many bytes of artifacts of ended jobs to keep, of the most recent ones [default: all]
    #[arg(long, env = "ORCHESTRA_KEEP_ARTIFACT_BYTES", value_name = "SIZE")]
    pub keep_artifact_bytes: Option<Size>,

    /// How long a job stays with a worker that does not respond
    #[arg(long, env = "ORCHESTRA_LEASE", value_name = "TIME", default_value = "60s")]
    pub lease: Span,

    /// The longest lease that a job may ask for; never less than --lease
    #[arg(long, env = "ORCHESTRA_MAX_LEASE", value_name = "TIME", default_value = "1h")]
    pub max_lease: Span,

    /// Timeout of a job that specifies none
    #[arg(long, env = "ORCHESTRA_JOB_TIMEOUT", value_name = "TIME", default_value = "1h")]
    pub job_timeout: Span,

    /// The longest timeout that a job may ask for
    #[arg(long, env = "ORCHESTRA_MAX_JOB_TIMEOUT", value_name = "TIME", default_value = "24h")]
    pub max_job_timeout: Span,

    /// Longest wait before the first retry of a failed job; doubles with each retry
    #[arg(long, env = "ORCHESTRA_RETRY_BACKOFF", value_name = "TIME", default_value = "1s")]
    pub retry_backoff: Span,

    /// Maximum wait before any retry
    #[arg(long, env = "ORCHESTRA_MAX_RETRY_BACKOFF", value_name = "TIME", default_value = "60s")]
    pub max_retry_backoff: Span,

    /// How many lost attempts end a job as poison
    #[arg(long, env = "ORCHESTRA_POISON_AFTER", value_name = "N", default_value = "3",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub poison_after: u32,

    /// Networks that webhook messages may go to, in addition to the internet, separated by commas,
    /// such as 10.1.0.0/16
    #[arg(long, env = "ORCHESTRA_WEBHOOK_ALLOW", value_name = "NETWORKS", value_delimiter = ',')]
    pub webhook_allow: Vec<IpNet>,
}

impl Config {
    /// URL of the database: the configured one, or the file in the data folder.
    pub fn database(&self) -> String {
        let file = || format!("sqlite:{}", self.data.join("orchestra.db").display());
        self.database_url.clone().unwrap_or_else(file)
    }

    /// Path of the file with the key that seals secrets.
    pub fn secret_key(&self) -> PathBuf {
        self.secret_key_file.clone().unwrap_or_else(|| self.data.join("secret.key"))
    }

    /// The TLS configuration, if TLS is enabled.
    ///
    /// # Errors
    /// When the certificate or the key cannot be used.
    pub fn tls(&self) -> Result<Option<Tls>, MasterError> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        Tls::load(cert, key).map(Some).map_err(MasterError::Tls)
    }

    /// The additional host names.
    ///
    /// # Errors
    /// When one is not a host name.
    pub fn hosts(&self) -> Result<Hosts, MasterError> {
        Hosts::named(&self.hosts).map_err(|wrong| {
            MasterError::Setting(format!("--hosts: {wrong:?} is neither a name nor an address"))
        })
    }

    /// The service's settings.
    ///
    /// # Errors
    /// When a duration is out of range.
    pub fn settings(&self) -> Result<Settings, MasterError> {
        let refuse = |wrong: bool, sentence: &str| {
            if wrong { Err(MasterError::Setting(sentence.to_owned())) } else { Ok(()) }
        };
        let (second, day) = (Span::from_secs(1), Span(Duration::from_hours(24)));
        refuse(self.lease < second || self.lease > day, "--lease has to be between 1s and 24h")?;
        refuse(self.max_lease > day, "--max-lease has to be at most 24h")?;
        refuse(self.job_timeout < second, "--job-timeout has to be at least 1s")?;
        refuse(
            self.max_job_timeout < self.job_timeout,
            "--max-job-timeout is less than --job-timeout, which jobs get that name none",
        )?;
        refuse(
            self.max_retry_backoff < self.retry_backoff,
            "--max-retry-backoff is less than --retry-backoff",
        )?;
        let retry = RetryPolicy {
            base: self.retry_backoff,
            max: self.max_retry_backoff,
            poison_after: self.poison_after,
            ..RetryPolicy::default()
        };
        Ok(Settings {
            lease: self.lease,
            max_lease: self.max_lease.max(self.lease),
            job_timeout: self.job_timeout,
            max_job_timeout: self.max_job_timeout,
            retry,
            max_streams: self.max_streams,
            artifacts_limit: self.artifacts_limit,
            upload_limit: self.upload_limit,
            retention: self.retention(),
            reachable: Reachable::with(self.webhook_allow.clone()),
        })
    }
}

impl Config {
    fn retention(&self) -> Retention {
        Retention {
            jobs: Keep { age: self.keep_jobs, most: self.keep_job_count },
            logs: Keep::bytes(self.keep_logs, self.keep_log_bytes),
            artifacts: Keep::bytes(self.keep_artifacts, self.keep_artifact_bytes),
        }
    }
}

/// By hand, because the database's URL may hold a password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("data", &self.data)
            .field("database_url", &self.database_url.as_ref().map(|_| ".."))
            .field("tokens", &self.tokens)
            .field("secret_key_file", &self.secret_key_file)
            .field("allow_anyone", &self.allow_anyone)
            .field("tls_cert", &self.tls_cert)
            .field("tls_key", &self.tls_key)
            .field("hosts", &self.hosts)
            .field("lent", &self.lent)
            .field("min_free", &self.min_free)
            .field("log_codec", &self.log_codec)
            .field("max_streams", &self.max_streams)
            .field("artifacts_limit", &self.artifacts_limit)
            .field("upload_limit", &self.upload_limit)
            .field("settings_file", &self.settings_file)
            .field("keep_jobs", &self.keep_jobs)
            .field("keep_job_count", &self.keep_job_count)
            .field("keep_logs", &self.keep_logs)
            .field("keep_log_bytes", &self.keep_log_bytes)
            .field("keep_artifacts", &self.keep_artifacts)
            .field("keep_artifact_bytes", &self.keep_artifact_bytes)
            .field("lease", &self.lease)
            .field("max_lease", &self.max_lease)
            .field("job_timeout", &self.job_timeout)
            .field("max_job_timeout", &self.max_job_timeout)
            .field("retry_backoff", &self.retry_backoff)
            .field("max_retry_backoff", &self.max_retry_backoff)
            .field("poison_after", &self.poison_after)
            .field("webhook_allow", &self.webhook_allow)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn config(arguments: &[&str]) -> Config {
        let command = Config::augment_args(Command::new("master").no_binary_name(true));
        Config::from_arg_matches(&command.get_matches_from(arguments)).unwrap()
    }

    #[test]
    fn passwords_do_not_print() {
        let config = config(&["--database-url", "postgres://user:hunter2@host/db"]);
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn the_database_stands_in_the_data_folder() {
        assert_eq!(config(&["--data", "/a/b"]).database(), "sqlite:/a/b/orchestra.db");
    }

    #[test]
    fn times_that_make_no_sense_are_refused() {
        assert!(config(&[]).settings().is_ok());
        for wrong in [
            ["--lease", "1ms"],
            ["--max-lease", "25h"],
            ["--job-timeout", "0s"],
            ["--max-job-timeout", "10s"],
            ["--max-retry-backoff", "1ms"],
        ] {
            assert!(config(&wrong).settings().is_err(), "{wrong:?}");
        }
    }
}

//! The masters of one case and their database.

use std::time::Duration;

use orchestra_client::Client;
use orchestra_tests::Postgres;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::Case;
use crate::{
    cpu,
    error::BenchError,
    program::Process,
    rows::Bench,
    stack::{self, Settings},
};

const START: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(50);
/// The server's sessions publish their statistics once a second.
const COUNTED: Duration = Duration::from_secs(3);

/// The server's table statistics: updates, the share that needed no new index entry, dead rows,
/// autovacuum runs, and sizes.
const TABLES: &str = "SELECT format('| %s | %s | %s | %s %% | %s | %s | %s | %s |', relname, n_live_tup, \
     n_tup_upd, round(100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1), 1), n_dead_tup, autovacuum_count, \
     pg_size_pretty(pg_table_size(relid)), pg_size_pretty(pg_indexes_size(relid))) \
     FROM pg_stat_user_tables WHERE n_tup_ins > 0 AND relname IN ('job', 'attempt', 'log_chunk', 'worker') \
     ORDER BY relname";
const INDEXES: &str = "SELECT string_agg(indexrelname || ' ' || pg_size_pretty(pg_relation_size(indexrelid)), ', ' \
     ORDER BY pg_relation_size(indexrelid) DESC) FROM pg_stat_user_indexes WHERE relname IN ('job', 'attempt')";
const COMMITS: &str = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";

const DEAD: &str = "SELECT round(100.0 * n_dead_tup / greatest(n_live_tup + n_dead_tup, 1), 2) \
     FROM pg_stat_user_tables WHERE relname = ";

/// The configuration of the PostgreSQL server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// Syncs every commit.
    Durable,
    /// Never syncs.
    Quick,
}

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) ports: Vec<u16>,
    pub(super) masters: Vec<Process>,
    server: Option<(Postgres, String)>,
    folder: TempDir,
}

impl Stage {
    pub(super) async fn open(bench: &Bench, case: Case) -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().map_err(BenchError::io("a temporary folder"))?;
        let server = case.postgres.map(start).transpose()?;
        let mut settings: Settings = vec![(
            "ORCHESTRA_SECRET_KEY_FILE",
            folder.path().join("secret.key").display().to_string(),
        )];
        settings.extend(server.iter().map(|(_, url)| ("ORCHESTRA_DATABASE_URL", url.clone())));
        let mut stage = Self { ports: Vec::new(), masters: Vec::new(), server, folder };
        for number in 0..case.masters {
            let own = stage.folder.path().join(number.to_string());
            std::fs::create_dir_all(&own).map_err(BenchError::io("a master's folder"))?;
            let port = stack::free_port()?;
            stage.masters.push(stack::start_master(&bench.orchestra, port, &own, &settings)?);
            stage.ports.push(port);
            is_up(port).await?;
        }
        Ok(stage)
    }

    /// CPU time of all masters.
    pub(super) fn cpu(&self) -> Duration {
        self.masters.iter().map(|master| cpu::of(master.id())).sum()
    }

    /// Dead rows of a table, in percent.
    pub(super) async fn dead(&self, table: &str) -> f64 {
        let Some((server, url)) = &self.server else { return 0.0 };
        sleep(COUNTED).await;
        let database = url.rsplit('/').next().unwrap_or_default();
        server.run(database, &format!("{DEAD} '{table}'")).parse().unwrap_or_default()
    }

    /// The server's table statistics as text.
    pub(super) async fn tables(&self, jobs: f64) -> Option<String> {
        let (server, url) = self.server.as_ref()?;
        sleep(COUNTED).await;
        let database = url.rsplit('/').next().unwrap_or_default();
        let commits: f64 = server.run(database, COMMITS).parse().unwrap_or_default();
        Some(format!(
            "| table | rows | updates | heap-only | dead | autovacuums | table | indexes |\n\
             |---|---|---|---|---|---|---|---|\n{}\n\nIndexes: {}. Transactions a job, reads included: {:.2}.",
            server.run(database, TABLES),
            server.run(database, INDEXES),
            commits / jobs,
        ))
    }
}

fn start(kind: Server) -> Result<(Postgres, String), BenchError> {
    let missing = BenchError::Missing { what: "PostgreSQL", how: "apt-get install postgresql" };
    let server = match kind {
        Server::Durable => Postgres::durable(),
        Server::Quick => Postgres::start(),
    };
    let server = server.ok_or(missing)?;
    let url = server.database();
    Ok((server, url))
}

async fn is_up(port: u16) -> Result<(), BenchError> {
    let client = Client::new(&format!("http://127.0.0.1:{port}"))?;
    let limit = Instant::now() + START;
    while client.healthy().await.is_err() {
        if Instant::now() > limit {
            return Err(BenchError::unexpected("a master does not start"));
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

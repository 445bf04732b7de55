//! Several masters on one PostgreSQL database, each with a data folder of its own.

use std::path::{Path, PathBuf};

use reqwest::Method;
use tempfile::TempDir;

use crate::{
    Api, Turn, free_port,
    program::{self, Program},
    wait,
};

/// Several masters on one database.
#[derive(Debug)]
pub struct Masters {
    pub all: Vec<Master>,
    folder: TempDir,
    url: String,
    lease: &'static str,
    _turn: Option<Turn>,
}

/// One of the masters.
#[derive(Debug)]
pub struct Master {
    pub port: u16,
    pub api: Api,
    pub program: Program,
}

impl Masters {
    /// Starts `count` masters. Returns before any of them is ready.
    ///
    /// # Panics
    /// When a program cannot be started.
    pub fn start(count: usize, url: String, lease: &'static str, turn: Option<Turn>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut masters = Self { all: Vec::new(), folder, url, lease, _turn: turn };
        for _ in 0..count {
            masters.add(program::path());
        }
        masters
    }

    /// Starts one more, with this program.
    pub fn add(&mut self, program: &Path) {
        let port = free_port();
        let program = self.program_of(program, self.all.len(), port);
        self.all.push(Master { port, api: Api::new(format!("http://127.0.0.1:{port}")), program });
    }

    /// The key that seals secrets; all masters share it.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("secret.key")
    }

    /// Restarts a killed master.
    pub fn again(&mut self, number: usize) {
        self.again_as(number, program::path());
    }

    /// Restarts a killed master with this program.
    pub fn again_as(&mut self, number: usize, program: &Path) {
        let port = self.all[number].port;
        self.all[number].program = self.program_of(program, number, port);
    }

    fn program_of(&self, path: &Path, number: usize, port: u16) -> Program {
        let mut command = program::command_of(path, ["master"]);
        command
            .env("ORCHESTRA_LISTEN", format!("127.0.0.1:{port}"))
            .env("ORCHESTRA_DATA", self.folder.path().join(format!("data-{number}")))
            .env("ORCHESTRA_SECRET_KEY_FILE", self.key())
            .env("ORCHESTRA_DATABASE_URL", &self.url)
            .env("ORCHESTRA_LEASE", self.lease)
            .env("ORCHESTRA_LOG", "info");
        let log = self.folder.path().join(format!("master-{number}.log"));
        Program::start(&format!("master-{number}"), command, log)
    }

    /// Waits until `/readyz` of every master succeeds.
    ///
    /// # Panics
    /// When one has ended, or is not ready in time.
    pub async fn are_ready(&mut self) {
        for master in &mut self.all {
            let (api, program) = (&master.api, &mut master.program);
            wait::until("a master to be ready", wait::START, async || {
                assert!(program.ended().is_none(), "a master ended: {}", program.printed());
                let answer = api.request(Method::GET, "/readyz").send().await.ok()?;
                answer.status().is_success().then_some(())
            })
            .await;
        }
    }

    /// Terminates all masters one after another.
    pub async fn stop(mut self) {
        for master in &mut self.all {
            master.program.terminate().await;
        }
    }
}

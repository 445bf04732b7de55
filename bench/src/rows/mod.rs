//! One file for each row of the table.

mod blocks;
mod cold;
mod first_byte;
mod growth;
mod lifecycles;
mod log_bytes;
mod memory;
mod pack;
mod profile;
mod scale;
mod seed;
mod throughput;
mod waiters;
mod warm;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub(crate) use self::lifecycles::CLIENTS;
use crate::{
    args::{Args, Row, Size},
    engine::{Engine, Flags},
    error::BenchError,
    program,
    report::Measured,
    stack::{self, Plan, Stack},
};

/// What all rows need.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) orchestra: PathBuf,
    pub(crate) engine: Engine,
    pub(crate) quick: bool,
    pub(crate) size: Option<Size>,
    folder: TempDir,
}

impl Bench {
    pub(crate) async fn new(args: &Args) -> Result<Self, BenchError> {
        let orchestra = program::find(args)?;
        let engine = Engine::connect(&args.engine).await?;
        let folder = tempfile::tempdir().map_err(BenchError::io("a temporary folder"))?;
        Ok(Self { orchestra, engine, quick: args.quick, size: args.size, folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The first value for a thorough run, the second for a quick one.
    pub(crate) fn pick<T>(&self, thorough: T, quick: T) -> T {
        if self.quick { quick } else { thorough }
    }

    pub(crate) async fn stack(&self, plan: &Plan) -> Result<Stack, BenchError> {
        Stack::start(&self.orchestra, plan).await
    }

    /// The flags of our containers, for containers started without us.
    pub(crate) async fn flags(&self) -> Result<Flags, BenchError> {
        let files = self.folder().join("files");
        stack::make_files(&files)?;
        let stack = self.stack(&Plan::worker(1, 1)).await?;
        self.engine.flags_of(&stack, &files).await
    }
}

pub(crate) async fn run(row: Row, bench: &Bench) -> Result<Measured, BenchError> {
    match row {
        Row::Warm => warm::run(bench).await,
        Row::Cold => cold::run(bench).await,
        Row::Throughput => throughput::run(bench).await,
        Row::Lifecycles => lifecycles::run(bench).await,
        Row::LogBytes => log_bytes::run(bench).await,
        Row::FirstByte => first_byte::run(bench).await,
        Row::Memory => memory::run(bench).await,
        Row::Growth => growth::run(bench).await,
        Row::Waiters => waiters::run(bench).await,
        Row::Scale => scale::run(bench).await,
        Row::Churn => scale::churn::run(bench).await,
        Row::Pack => pack::run(bench).await,
        Row::Profile => profile::run(bench).await,
    }
}

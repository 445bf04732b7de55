//! `orchestra artifacts`.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, ready},
};

use orchestra_client::{Client, FetchError};
use orchestra_contracts::{
    AttemptNo, JobId, Size,
    files::{Artifact, Artifacts as Listed},
};
use tokio::io::{self, AsyncWrite, Stdout};

use crate::{
    args::{Output, Server},
    exit::Exit,
    failure::Failure,
    folder::Folder,
    jobref::JobRef,
    output::{Format, escape, inert::Inert, print, print_json, print_line, say, table::Table},
};

use super::logs::attempt;

/// So much of a checksum tells files apart.
const SHOWN: usize = 12;

#[derive(Debug, clap::Args)]
pub(crate) struct Artifacts {
    /// The job: its id, @latest, or the beginning of its name
    #[arg(value_name = "ID")]
    job: JobRef,

    /// The file to fetch, named as in the list; written to standard output unless you use --to
    #[arg(value_name = "PATH", conflicts_with = "all")]
    path: Option<String>,

    /// Fetch all files
    #[arg(long, requires = "to")]
    all: bool,

    /// Where to write: a folder, or the new name of the file
    #[arg(long, value_name = "FILE|DIR")]
    to: Option<PathBuf>,

    /// Replace existing files
    #[arg(long, requires = "to")]
    force: bool,

    /// The attempt [default: the last one that has ended]
    #[arg(long, value_name = "N", value_parser = attempt)]
    attempt: Option<AttemptNo>,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

pub(crate) async fn artifacts(args: Artifacts) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let id = args.job.resolve(&client).await?;
    let listed = client.artifacts(id, args.attempt).await?;
    match (args.path, args.to) {
        (Some(path), to) => {
            let file = named(&listed, id, &path)?;
            match to {
                Some(to) => fetch_to(&client, id, listed.attempt, file, &to, args.force).await?,
                None => show(&client, id, listed.attempt, file).await?,
            }
        }
        (None, Some(to)) if args.all => {
            let folder = Folder::open(&to, args.force)?;
            let count = fetch_all(&client, id, &listed, &folder).await?;
            say(&format!("{count} files are in {}", to.display()));
        }
        (None, Some(_)) => {
            return Err(Failure::said("name a file to fetch, or fetch them --all"));
        }
        (None, None) => list(&listed, args.output.format)?,
    }
    Ok(Exit::SUCCESS)
}

fn list(listed: &Listed, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(listed)?,
        Format::Name => {
            listed.artifacts.iter().try_for_each(|it| print_line(escape::line(&it.path)))?;
        }
        Format::Table => print(&table(&listed.artifacts).text())?,
    }
    Ok(())
}

fn table(files: &[Artifact]) -> Table {
    let mut table = Table::new(["PATH", "SIZE", "SHA256"]);
    for Artifact { path, bytes, sha256, .. } in files {
        let prefix = sha256.chars().take(SHOWN).collect();
        table.row([path.clone(), Size(*bytes).to_string(), prefix]);
    }
    table
}

fn named<'a>(listed: &'a Listed, id: JobId, path: &str) -> Result<&'a Artifact, Failure> {
    listed.artifacts.iter().find(|file| file.path == path).ok_or_else(|| {
        let attempt = listed.attempt;
        Failure::said(format!(
            "attempt {attempt} of job {id} left no {path}; `orchestra artifacts {id}` lists what it left"
        ))
    })
}

/// Every file into the folder, under its own path; answers how many there were.
pub(crate) async fn fetch_all(
    client: &Client,
    id: JobId,
    listed: &Listed,
    folder: &Folder,
) -> Result<usize, Failure> {
    for file in &listed.artifacts {
        fetch(client, id, listed.attempt, file, folder, &file.path).await?;
    }
    Ok(listed.artifacts.len())
}

async fn fetch_to(
    client: &Client,
    id: JobId,
    attempt: AttemptNo,
    file: &Artifact,
    to: &Path,
    force: bool,
) -> Result<(), Failure> {
    let own = file.path.rsplit('/').next().unwrap_or(&file.path);
    let (folder, name) = if to.is_dir() {
        (to, own)
    } else {
        let name = to.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Failure::said(format!("{} is no name", to.display())))?;
        (to.parent().unwrap_or(Path::new("")), name)
    };
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fetch(client, id, attempt, file, &Folder::open(here, force)?, name).await
}

async fn fetch(
    client: &Client,
    id: JobId,
    attempt: AttemptNo,
    file: &Artifact,
    folder: &Folder,
    name: &str,
) -> Result<(), Failure> {
    let (begun, target) = folder.begin(name, file.executable)?;
    let mut target = tokio::fs::File::from_std(target);
    client.fetch_artifact(id, attempt, file, &mut target).await?;
    begun.keep()?;
    Ok(())
}

/// To standard output; on a terminal, so that it obeys nothing of it.
async fn show(
    client: &Client,
    id: JobId,
    attempt: AttemptNo,
    file: &Artifact,
) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    let shown = if std::io::stdout().is_terminal() {
        let mut screen = Screen { to: stdout, inert: Inert::default(), waiting: Vec::new() };
        client.fetch_artifact(id, attempt, file, &mut screen).await
    } else {
        client.fetch_artifact(id, attempt, file, &mut stdout).await
    };
    match shown {
        // Whoever read it has seen enough.
        Err(FetchError::Write { reason, .. }) => Err(reason.into()),
        shown => Ok(shown?),
    }
}

/// A terminal that is shown a file.
struct Screen {
    to: Stdout,
    inert: Inert,
    waiting: Vec<u8>,
}

impl AsyncWrite for Screen {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.as_mut().poll_waiting(context))?;
        let shown = self.inert.take(bytes);
        self.waiting = shown;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_waiting(context))?;
        self.waiting = self.inert.end();
        ready!(self.as_mut().poll_waiting(context))?;
        Pin::new(&mut self.to).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

impl Screen {
    fn poll_waiting(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let Self { to, waiting, .. } = &mut *self;
            let written = ready!(Pin::new(to).poll_write(context, waiting))?;
            waiting.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

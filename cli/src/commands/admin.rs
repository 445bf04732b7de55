//! `orchestra admin`: backups, and the way from one database to another.

use std::path::PathBuf;

use clap::Subcommand;
use orchestra_contracts::Span;
use orchestra_master::{
    admin,
    store::{Moved, Restored, Settled},
};

use crate::{
    exit::Exit,
    failure::Failure,
    output::{escape, print_line, say},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Admin {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Copy the database into a file, while the master runs
    ///
    /// The copy contains all jobs with their logs and files, schedules, webhooks and tokens. It
    /// does not contain the key for secrets (secret.key): keep that separately.
    Backup(Backup),
    /// Replace the database with a backup; no master may be using it
    ///
    /// The current database is kept under another name. Attempts that were running at the time of
    /// the backup end as lost. No job is handed out until the jobs that workers still run have
    /// ended.
    Restore(Restore),
    /// After `pg_restore` of a PostgreSQL database, do to its jobs what `restore` does
    Settle(Settle),
    /// Move an installation from SQLite to PostgreSQL, with its history; stop the master first
    ///
    /// Either everything is moved or nothing. The target database must have no rows. The SQLite
    /// file is then renamed.
    Migrate(Migrate),
}

/// Which database, in the words of `orchestra master`.
#[derive(Debug, clap::Args)]
struct Place {
    /// The master's folder
    #[arg(long, env = "ORCHESTRA_DATA", value_name = "FOLDER", default_value = ".orchestra")]
    data: PathBuf,

    /// The master's database [default: an SQLite file in that folder]
    #[arg(long, env = "ORCHESTRA_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
}

impl Place {
    fn url(self) -> String {
        let file = || format!("sqlite:{}", self.data.join("orchestra.db").display());
        self.database_url.clone().unwrap_or_else(file)
    }
}

#[derive(Debug, clap::Args)]
struct Backup {
    /// The file to write; it must not exist yet
    file: PathBuf,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Restore {
    /// A file written by `orchestra admin backup`
    file: PathBuf,

    #[command(flatten)]
    place: Place,

    /// The master's lease: jobs are handed out again when it is over
    #[arg(long, env = "ORCHESTRA_LEASE", value_name = "TIME", default_value = "60s")]
    lease: Span,
}

#[derive(Debug, clap::Args)]
struct Settle {
    /// The database, as in `postgres://user@host/database`
    #[arg(long, env = "ORCHESTRA_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: String,

    /// The masters' lease: jobs are handed out again when it is over
    #[arg(long, env = "ORCHESTRA_LEASE", value_name = "TIME", default_value = "60s")]
    lease: Span,
}

#[derive(Debug, clap::Args)]
struct Migrate {
    /// The SQLite file, as in `sqlite:.orchestra/orchestra.db`
    #[arg(long, value_name = "URL")]
    from: String,

    /// The PostgreSQL database, as in `postgres://user@host/database`
    #[arg(long, env = "ORCHESTRA_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    to: String,
}

pub(crate) async fn admin(args: Admin) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Backup(args) => backup(args).await,
        Verb::Restore(args) => restore(args).await,
        Verb::Settle(args) => settle(args).await,
        Verb::Migrate(args) => migrate(args).await,
    }
}

async fn backup(args: Backup) -> Result<Exit, Failure> {
    let made = admin::backup(&args.place.url(), &args.file).await?;
    print_line(escape::line(&args.file.display().to_string()))?;
    let (jobs, bytes) = (made.jobs, made.size.0);
    say(&format!("{jobs} jobs in {bytes} bytes, checked; keep secret.key apart from it"));
    Ok(Exit::SUCCESS)
}

async fn restore(args: Restore) -> Result<Exit, Failure> {
    let lease = args.lease;
    let restored = admin::restore(&args.place.url(), &args.file, lease).await?;
    tell(&restored, lease);
    Ok(Exit::SUCCESS)
}

fn tell(restored: &Restored, lease: Span) {
    let Restored { jobs, last, revoked, settled, .. } = restored;
    say(&format!("{jobs} jobs are as they were at the backup; ids go on after {last}"));
    tell_of_jobs(settled, lease);
    match revoked {
        Some(0) => {}
        Some(revoked) => say(&format!("{revoked} tokens that were revoked since are revoked")),
        None => say(
            "what was here before could not be read: tokens that were revoked since the backup are valid again",
        ),
    }
    if let Some(kept) = &restored.kept {
        say(&format!("what was here before is kept in {}", kept.display()));
    }
}

async fn settle(args: Settle) -> Result<Exit, Failure> {
    let settled = admin::settle(&args.database_url, args.lease).await?;
    tell_of_jobs(&settled, args.lease);
    say("tokens that were revoked since the backup are valid again");
    Ok(Exit::SUCCESS)
}

fn tell_of_jobs(settled: &Settled, lease: Span) {
    say(&format!(
        "{} attempts that were under way have ended as lost; {} jobs that may not run twice are cancelled",
        settled.lost, settled.cancelled
    ));
    say(&format!(
        "{} jobs wait: those that have run since will run again, not before {lease} from now; look at them with \
         `orchestra ls --status pending`",
        settled.waiting
    ));
}

async fn migrate(args: Migrate) -> Result<Exit, Failure> {
    let Moved { rows, kept } = admin::migrate(&args.from, &args.to).await?;
    for (table, count) in rows {
        print_line(format!("{table}\t{count}"))?;
    }
    say(&format!(
        "all of it has arrived; the file is kept in {}. Give masters the same secret.key as before",
        kept.display()
    ));
    Ok(Exit::SUCCESS)
}

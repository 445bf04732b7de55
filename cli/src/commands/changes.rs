//! `orchestra changes`.

use orchestra_contracts::{AttemptNo, files::Changes};

use super::logs::attempt;
use crate::{
    args::{Output, Server},
    exit::Exit,
    failure::Failure,
    jobref::JobRef,
    output::{Format, escape, print_json, print_line, say},
};

#[derive(Debug, clap::Args)]
pub(crate) struct ChangesArgs {
    /// The job: its id, @latest, or the beginning of its name
    #[arg(value_name = "ID")]
    job: JobRef,

    /// The attempt [default: the last one that has ended]
    #[arg(long, value_name = "N", value_parser = attempt)]
    attempt: Option<AttemptNo>,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

pub(crate) async fn changes(args: ChangesArgs) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let told = client.changes(args.job.resolve(&client).await?, args.attempt).await?;
    match args.output.format {
        Format::Json => print_json(&told)?,
        Format::Name => paths(&told.changes).try_for_each(|(_, path)| print_line(path))?,
        Format::Table => {
            paths(&told.changes)
                .try_for_each(|(what, path)| print_line(format!("{what:<8}  {path}")))?;
            for sentence in beyond(&told.changes) {
                say(&sentence);
            }
        }
    }
    Ok(Exit::SUCCESS)
}

/// What happened, and to which file.
fn paths(changes: &Changes) -> impl Iterator<Item = (&'static str, String)> {
    let Changes { created, modified, deleted, .. } = changes;
    let lists = [("created", created), ("modified", modified), ("deleted", deleted)];
    lists
        .into_iter()
        .flat_map(|(what, paths)| paths.iter().map(move |path| (what, escape::line(path))))
}

fn beyond(changes: &Changes) -> Vec<String> {
    let mut sentences = Vec::new();
    if changes.more > 0 {
        sentences.push(format!("{} more are not listed", changes.more));
    }
    if changes.incomplete {
        sentences.push("the folder has too many files to look at all of them".to_owned());
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_stands_behind_what_happened_to_it() {
        let mut changes = Changes {
            created: vec!["a\x1b".into()],
            deleted: vec!["b c".into()],
            ..Changes::default()
        };
        let told: Vec<_> = paths(&changes).collect();
        assert_eq!(told, [("created", "a\\u{1b}".to_owned()), ("deleted", "b c".to_owned())]);
        assert_eq!(beyond(&changes), [""; 0]);
        (changes.more, changes.incomplete) = (3, true);
        assert_eq!(beyond(&changes).len(), 2);
        assert_eq!(beyond(&changes)[0], "3 more are not listed");
    }
}

//! `orchestra man`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::{
    args::Cli,
    exit::Exit,
    failure::Failure,
    output::{print, print_line},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "To read one at once: orchestra man run | man -l -
To install all: orchestra man --to ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The command whose page to print, for example run, or images ls [default: orchestra itself]
    #[arg(conflicts_with = "to")]
    verb: Vec<String>,

    /// Write the pages of all commands into this folder, replacing existing ones
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

pub(crate) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let mut root = named(Cli::command(), "orchestra");
    root.build();
    match &args.to {
        Some(folder) => {
            fs::create_dir_all(folder)?;
            write(&root, folder)?;
            print_line(format!("the pages are in {}", folder.display()))?;
        }
        None => print(&page(find(&root, &args.verb)?)?)?,
    }
    Ok(Exit::SUCCESS)
}

/// The page's name is that of the verb with those that it stands under.
fn named(command: Command, name: &str) -> Command {
    command.display_name(name.to_owned()).mut_subcommands(|verb| {
        let name = format!("{name}-{}", verb.get_name());
        named(verb, &name)
    })
}

fn find<'a>(root: &'a Command, verb: &[String]) -> Result<&'a Command, Failure> {
    verb.iter().try_fold(root, |command, word| {
        command.find_subcommand(word).ok_or_else(|| {
            let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            Failure::said(format!("there is no verb {word}: {} are known", known.join(", ")))
        })
    })
}

fn page(command: &Command) -> io::Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    String::from_utf8(page).map_err(io::Error::other)
}

/// The page of this verb and those of the verbs under it.
fn write(command: &Command, folder: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    fs::write(folder.join(format!("{name}.1")), page(command)?)?;
    let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help");
    verbs.into_iter().try_for_each(|verb| write(verb, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page_with_its_options() {
        let folder = tempfile::tempdir().unwrap();
        let mut root = named(Cli::command(), "orchestra");
        root.build();
        write(&root, folder.path()).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        for (name, words) in [
            ("orchestra.1", ["Exit codes", "orchestra\\-run(1)"]),
            ("orchestra-run.1", ["\\-\\-timeout", "Ctrl\\-C cancels the job"]),
            ("orchestra-images-prune.1", ["orchestra\\-images\\-prune", ".SH SYNOPSIS"]),
        ] {
            let page = read(name);
            assert!(page.contains(".TH orchestra"), "{name}\n{page}");
            for word in words {
                assert!(page.contains(word), "{name} lacks {word}\n{page}");
            }
        }
        let pages = fs::read_dir(folder.path()).unwrap().count();
        assert!(pages > root.get_subcommands().count(), "{pages}");
    }

    #[test]
    fn a_verb_that_is_not_there_is_named() {
        let root = Cli::command();
        let error = find(&root, &["images".into(), "eat".into()]).unwrap_err().to_string();
        assert!(error.starts_with("there is no verb eat: ls, build"), "{error}");
        assert_eq!(find(&root, &["images".into(), "ls".into()]).unwrap().get_name(), "ls");
    }
}

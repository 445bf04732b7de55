//! Variables of the environment that are meant for Orchestra and that nothing reads: a setting whose
//! name is mistyped is not in force, and nobody would notice.

use std::{collections::BTreeSet, env};

const OURS: &str = "ORCHESTRA_";
/// So many letters may be amiss in what somebody meant to type.
const TYPOS: usize = 2;

/// Says of each in the log that nothing reads it.
pub(super) fn warn(command: &clap::Command) {
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for sentence in unread(&settings(command), names) {
        tracing::warn!("{sentence}");
    }
}

/// What the command line and its verbs read.
fn settings(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(clap::Arg::get_env);
    let own = own.filter_map(|name| name.to_str()).map(str::to_owned);
    let verbs = command.get_subcommands().flat_map(settings);
    own.chain(verbs).collect()
}

fn unread(settings: &BTreeSet<String>, names: impl Iterator<Item = String>) -> Vec<String> {
    let is_amiss = |name: &String| name.starts_with(OURS) && !settings.contains(name);
    let said = |name: String| {
        let near = settings.iter().map(|known| (strsim::osa_distance(known, &name), known)).min();
        match near.filter(|&(typos, _)| typos <= TYPOS) {
            Some((_, known)) => format!("nothing reads {name}; {known} is a setting"),
            None => format!("nothing reads {name}: no setting has that name"),
        }
    };
    names.filter(is_amiss).map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;

    #[test]
    fn what_is_mistyped_is_told_with_what_was_meant() {
        let settings = settings(&Cli::definition());
        let names =
            ["ORCHESTRA_MAX_CPU", "ORCHESTRA_SERVER", "ORCHESTRA_TOKENS", "MAX_CPU", "PATH"];
        let said = unread(&settings, names.map(str::to_owned).into_iter());
        assert_eq!(
            said,
            [
                "nothing reads ORCHESTRA_MAX_CPU; ORCHESTRA_MAX_CPUS is a setting",
                "nothing reads ORCHESTRA_SERVER: no setting has that name",
            ]
        );
    }

    /// A table that names a setting which nothing reads would mislead as well.
    #[test]
    fn all_that_the_manual_names_are_settings() {
        let manual = include_str!("../../../docs/operations.md");
        let rows = manual.lines().filter(|line| line.starts_with("| `ORCHESTRA_"));
        let first = rows.filter_map(|row| row.split('|').nth(1));
        let names = first.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        let is_one = |name: &&str| name.starts_with(OURS) && !name.ends_with('*');
        let names: Vec<String> = names.filter(is_one).map(str::to_owned).collect();
        assert!(names.len() > 40, "{names:?}");
        let said = unread(&settings(&Cli::definition()), names.into_iter());
        assert_eq!(said, Vec::<String>::new());
    }
}

//! What is to be measured, and how thoroughly.

use std::{fmt, path::PathBuf};

use clap::{Parser, ValueEnum};

/// Measures Orchestra beside others on this machine.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Which rows to measure, by their names.
    #[arg(required = true, value_name = "ROW")]
    wanted: Vec<Wanted>,
    /// Fewer and shorter blocks: a glance, no result.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Of `scale` and `churn`: workers, slots of each, and jobs, as `1000x1x100000`.
    #[arg(long, value_name = "WORKERSxSLOTSxJOBS")]
    pub(crate) size: Option<Size>,
    /// The `orchestra` program; built first unless it is given.
    #[arg(long, value_name = "FILE")]
    pub(crate) orchestra: Option<PathBuf>,
    /// Where the container engine listens.
    #[arg(long, env = "DOCKER_HOST", default_value = "unix:///var/run/docker.sock")]
    pub(crate) engine: String,
    /// The folder for the table.
    #[arg(long, value_name = "FOLDER", default_value = "bench/results")]
    pub(crate) out: PathBuf,
    /// The folder for the plots.
    #[arg(long, value_name = "FOLDER", default_value = "docs/plots")]
    pub(crate) plots: PathBuf,
}

impl Args {
    /// Each once, in the order of the table.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let wanted = |row: &Row| {
            self.wanted.iter().any(|it| match it {
                Wanted::All => true,
                Wanted::Row(wanted) => wanted == row,
            })
        };
        Row::value_variants().iter().copied().filter(wanted).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Row(Row),
}

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" { Ok(Self::All) } else { Row::from_str(text, true).map(Self::Row) }
    }
}

/// How much of everything there is in the rows `scale` and `churn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) workers: usize,
    /// Of each worker: so many jobs it claims at once.
    pub(crate) slots: usize,
    pub(crate) jobs: usize,
}

impl std::str::FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Option<Vec<usize>> =
            text.split('x').map(|number| number.parse().ok().filter(|it| *it > 0)).collect();
        match numbers.as_deref() {
            Some([workers, slots, jobs]) => {
                Ok(Self { workers: *workers, slots: *slots, jobs: *jobs })
            }
            _ => Err("three numbers above 0 are wanted, as 1000x1x100000"),
        }
    }
}

/// The rows of the table, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// 1: a job that does nothing, in a sandbox that waited for it.
    Warm,
    /// 2: the same in one that is made for it.
    Cold,
    /// 3: such jobs a second, and the processor time of one.
    Throughput,
    /// 4: submit, claim and completion over HTTP, without containers.
    Lifecycles,
    /// 5: bytes of output, from the container to a reader.
    LogBytes,
    /// 6: from an echo in a job to its byte at a reader.
    FirstByte,
    /// 7: resident memory.
    Memory,
    /// 8: what calls cost with a million stored jobs.
    Growth,
    /// 9: from a submit to the claim that it answers.
    Waiters,
    /// 10: many workers, many jobs, more than one master.
    Scale,
    /// 11: what many jobs leave in PostgreSQL's tables.
    Churn,
    /// What packing stored logs costs and saves.
    Pack,
    /// Where the processor time of one job goes.
    Profile,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("none is skipped");
        f.write_str(value.get_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(arguments: &[&str]) -> Vec<Row> {
        Args::try_parse_from([&["bench"], arguments].concat()).expect("they are good").rows()
    }

    #[test]
    fn rows_come_once_and_in_the_order_of_the_table() {
        assert_eq!(rows(&["log-bytes", "warm", "log-bytes"]), [Row::Warm, Row::LogBytes]);
        assert_eq!(rows(&["warm", "all"]), Row::value_variants());
        Args::try_parse_from(["bench", "hot"]).expect_err("there is no such row");
    }

    #[test]
    fn a_size_is_three_numbers() {
        assert_eq!("10x2x300".parse(), Ok(Size { workers: 10, slots: 2, jobs: 300 }));
        for wrong in ["", "10", "10x2", "10x0x300", "10x2x300x4", "axbxc"] {
            wrong.parse::<Size>().expect_err(wrong);
        }
    }
}

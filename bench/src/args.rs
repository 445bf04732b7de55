//! Command-line arguments: what to measure, and how thoroughly.

use std::{fmt, path::PathBuf};

use clap::{Parser, ValueEnum};

/// Compares Orchestra with other systems on this machine.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Names of the rows to measure.
    #[arg(required = true, value_name = "ROW")]
    wanted: Vec<Wanted>,
    /// Run fewer and shorter blocks. The figures are no results.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Size of `scale` and `churn`: workers, slots of each, and jobs, as `1000x1x100000`.
    #[arg(long, value_name = "WORKERSxSLOTSxJOBS")]
    pub(crate) size: Option<Size>,
    /// The `orchestra` program; built first if not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) orchestra: Option<PathBuf>,
    /// Address of the container engine.
    #[arg(long, env = "DOCKER_HOST", default_value = "unix:///var/run/docker.sock")]
    pub(crate) engine: String,
    /// Output folder of the table.
    #[arg(long, value_name = "FOLDER", default_value = "bench/results")]
    pub(crate) out: PathBuf,
    /// Output folder of the plots.
    #[arg(long, value_name = "FOLDER", default_value = "docs/plots")]
    pub(crate) plots: PathBuf,
}

impl Args {
    /// The requested rows, each once, in the order of the table.
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

/// Size of the rows `scale` and `churn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) workers: usize,
    /// Slots of each worker; it claims this many jobs at once.
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
    /// 1: a job that does nothing, in a warm sandbox.
    Warm,
    /// 2: the same in a sandbox that is made for the job.
    Cold,
    /// 3: such jobs per second, and CPU time per job.
    Throughput,
    /// 4: submit, claim and complete over HTTP, without containers.
    Lifecycles,
    /// 5: output throughput from the container to a reader, in bytes.
    LogBytes,
    /// 6: latency from an echo in a job to its arrival at a reader.
    FirstByte,
    /// 7: resident memory.
    Memory,
    /// 8: the cost of calls with a million stored jobs.
    Growth,
    /// 9: latency from a submission to the claim that it answers.
    Waiters,
    /// 10: many workers, many jobs, and more than one master.
    Scale,
    /// 11: dead rows and table sizes in PostgreSQL after many jobs.
    Churn,
    /// The cost and benefit of compressing stored logs.
    Pack,
    /// Where the CPU time of one job goes.
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

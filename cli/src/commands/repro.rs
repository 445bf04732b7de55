//! `orchestra repro`.

use crate::{
    args::{Output, Server},
    exit::Exit,
    failure::Failure,
    jobref::JobRef,
    output::{Format, print_json, print_line, say},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Repro {
    /// The job: its id, @latest, or the beginning of its name
    #[arg(value_name = "ID")]
    job: JobRef,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

/// The line alone on standard output, so that it can be piped into a shell; what it leaves
/// out on standard error.
pub(crate) async fn repro(args: Repro) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let repro = client.repro(args.job.resolve(&client).await?).await?;
    match args.output.format {
        Format::Json => print_json(&repro)?,
        Format::Name | Format::Table => {
            for name in &repro.secrets {
                say(&format!("a secret is not shown: export {name}=..."));
            }
            repro.notes.iter().for_each(|note| say(note));
            print_line(&repro.command)?;
        }
    }
    Ok(Exit::SUCCESS)
}

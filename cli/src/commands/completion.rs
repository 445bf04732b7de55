//! `orchestra completion`.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{args::Cli, exit::Exit, failure::Failure, output};

#[derive(Debug, clap::Args)]
#[command(after_help = "For bash: source <(orchestra completion bash)")]
pub(crate) struct Completion {
    #[arg(value_parser = shell, value_name = "bash|zsh|fish")]
    shell: Shell,
}

pub(crate) fn completion(args: &Completion) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "orchestra", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::SUCCESS)
}

fn shell(name: &str) -> Result<Shell, String> {
    match name {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => Err("bash, zsh and fish are known".to_owned()),
    }
}

//! `orchestra token`.

use clap::Subcommand;
use orchestra_contracts::{NewToken, Role, TokenId, TokenInfo, WorkerName};

use crate::{
    args::{Output, Server},
    clock,
    exit::Exit,
    failure::Failure,
    output::{Format, escape, print, print_json, print_line, say, table::Table, when},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a token and print it; it cannot be shown again
    Create(Create),
    /// List tokens, including revoked ones
    Ls(Ls),
    /// Revoke tokens permanently; open requests with them end
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The role: client (jobs), worker (claims and reports), admin (everything)
    #[arg(long)]
    role: Role,

    /// A name that identifies the token in the list
    #[arg(long)]
    name: Option<String>,

    /// The only worker that the token is valid for; no other token is then valid for that worker
    #[arg(long, value_name = "NAME")]
    worker: Option<WorkerName>,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Ls {
    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// The tokens' numbers, as shown by `orchestra token ls`
    #[arg(required = true, value_name = "ID")]
    ids: Vec<TokenId>,

    #[command(flatten)]
    server: Server,
}

pub(crate) async fn token(args: Token) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Create(args) => create(args).await,
        Verb::Ls(args) => list(args).await,
        Verb::Revoke(args) => revoke(args).await,
    }
}

/// Standard output has the token alone, so that it can go straight into a file.
async fn create(args: Create) -> Result<Exit, Failure> {
    let wanted = NewToken { role: args.role, name: args.name, worker: args.worker };
    let issued = args.server.client()?.issue_token(&wanted).await?;
    match args.output.format {
        Format::Json => print_json(&issued)?,
        Format::Name => print_line(issued.info.id)?,
        Format::Table => {
            print_line(escape::line(issued.token.as_str()))?;
            let (id, role) = (issued.info.id, issued.info.role);
            say(&format!("token {id} for a {role}; keep it now, it is not shown again"));
        }
    }
    Ok(Exit::SUCCESS)
}

async fn list(args: Ls) -> Result<Exit, Failure> {
    let tokens = args.server.client()?.tokens().await?;
    match args.output.format {
        Format::Json => print_json(&tokens)?,
        Format::Name => tokens.iter().try_for_each(|token| print_line(token.id))?,
        Format::Table => print(&table(&tokens).text())?,
    }
    Ok(Exit::SUCCESS)
}

async fn revoke(args: Revoke) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    for id in args.ids {
        client.revoke_token(id).await?;
        print_line(id)?;
    }
    Ok(Exit::SUCCESS)
}

fn table(tokens: &[TokenInfo]) -> Table {
    let now = clock::now();
    let mut table = Table::new(["ID", "ROLE", "NAME", "WORKER", "STATE", "CREATED"]);
    for token in tokens {
        table.row([
            token.id.to_string(),
            token.role.to_string(),
            token.name.clone().unwrap_or_default(),
            token.worker.as_ref().map(ToString::to_string).unwrap_or_default(),
            if token.revoked_at.is_some() { "revoked" } else { "valid" }.to_owned(),
            format!("{} ago", when::age(now, token.created_at)),
        ]);
    }
    table
}

//! `orchestra webhooks`.

use std::path::PathBuf;

use clap::Subcommand;
use orchestra_contracts::{
    Delivery, DeliveryId, JobStatus, NewWebhook, QueueName, Secret, Webhook, WebhookId, every_end,
};

use crate::{
    args::{Output, Server, pair, read},
    clock,
    exit::Exit,
    failure::Failure,
    output::{Format, escape, print, print_json, print_line, say, table::Table, when},
};

/// More than any secret that a master takes.
const SECRET_BYTES: usize = 256;

#[derive(Debug, clap::Args)]
pub(crate) struct Webhooks {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List webhooks
    Ls(Ls),
    /// Report the ends of jobs to a URL, and print the secret that signs the messages
    ///
    /// docs/operations.md explains how a receiver checks the signature.
    Add(Add),
    /// Remove webhooks and their delivery logs; no more messages are sent
    Rm(Rm),
    /// Show what was sent to a webhook, newest first, and the results
    Deliveries(Deliveries),
    /// Send messages again, whatever their result was
    Retry(Retry),
}

#[derive(Debug, clap::Args)]
struct Ls {
    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// Where to send messages: http:// or https://
    #[arg(value_name = "URL")]
    to: String,

    /// Report jobs that end like this: completed, failed or cancelled; may be repeated [default:
    /// all]
    #[arg(long, value_name = "END", value_parser = end)]
    on: Vec<JobStatus>,

    /// Report only jobs of this queue
    #[arg(long)]
    queue: Option<QueueName>,

    /// Report only jobs that have this label; may be repeated, jobs must then have all of them
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,

    /// File with the signing secret (whsec_...), if the receiver already has one
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Rm {
    /// The webhooks' numbers, as shown by `orchestra webhooks ls`
    #[arg(required = true, value_name = "ID")]
    ids: Vec<WebhookId>,

    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Args)]
struct Deliveries {
    /// The webhook's number
    id: WebhookId,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Retry {
    /// The webhook's number
    id: WebhookId,

    /// The messages' numbers, as shown by `orchestra webhooks deliveries`
    #[arg(required = true, value_name = "DELIVERY")]
    deliveries: Vec<DeliveryId>,

    #[command(flatten)]
    server: Server,
}

fn end(text: &str) -> Result<JobStatus, String> {
    let status = text.parse().ok().filter(|status: &JobStatus| status.is_final());
    status.ok_or_else(|| "a job ends as completed, failed or cancelled".to_owned())
}

pub(crate) async fn webhooks(args: Webhooks) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Ls(args) => list(args).await,
        Verb::Add(args) => add(args).await,
        Verb::Rm(args) => remove(args).await,
        Verb::Deliveries(args) => deliveries(args).await,
        Verb::Retry(args) => retry(args).await,
    }
}

async fn list(args: Ls) -> Result<Exit, Failure> {
    let webhooks = args.server.client()?.webhooks().await?;
    match args.output.format {
        Format::Json => print_json(&webhooks)?,
        Format::Name => webhooks.iter().try_for_each(|webhook| print_line(webhook.id))?,
        Format::Table => print(&table(&webhooks).text())?,
    }
    Ok(Exit::SUCCESS)
}

/// Standard output has the secret alone, so that it can go straight into a file.
async fn add(args: Add) -> Result<Exit, Failure> {
    let secret = match &args.secret_file {
        None => None,
        Some(file) => Some(Secret::new(read(file, SECRET_BYTES)?.trim())),
    };
    let on = if args.on.is_empty() { every_end() } else { args.on };
    let labels = args.labels.into_iter().collect();
    let wanted = NewWebhook { url: args.to, on, queue: args.queue, labels, secret };
    let registered = args.server.client()?.add_webhook(&wanted).await?;
    match args.output.format {
        Format::Json => print_json(&registered)?,
        Format::Name => print_line(registered.webhook.id)?,
        Format::Table => {
            print_line(escape::line(registered.secret.expose()))?;
            let id = registered.webhook.id;
            say(&format!("webhook {id}; keep its secret now, it is not shown again"));
        }
    }
    Ok(Exit::SUCCESS)
}

async fn remove(args: Rm) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    for id in args.ids {
        client.remove_webhook(id).await?;
        print_line(id)?;
    }
    Ok(Exit::SUCCESS)
}

async fn deliveries(args: Deliveries) -> Result<Exit, Failure> {
    let deliveries = args.server.client()?.deliveries(args.id).await?;
    match args.output.format {
        Format::Json => print_json(&deliveries)?,
        Format::Name => deliveries.iter().try_for_each(|delivery| print_line(delivery.id))?,
        Format::Table => print(&log(&deliveries).text())?,
    }
    Ok(Exit::SUCCESS)
}

async fn retry(args: Retry) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    for delivery in args.deliveries {
        client.redeliver(args.id, delivery).await?;
        print_line(delivery)?;
    }
    Ok(Exit::SUCCESS)
}

fn table(webhooks: &[Webhook]) -> Table {
    let now = clock::now();
    let mut table = Table::new(["ID", "URL", "ON", "QUEUE", "LABELS", "CREATED"]);
    for webhook in webhooks {
        let on: Vec<_> = webhook.on.iter().map(JobStatus::to_string).collect();
        let labels: Vec<_> =
            webhook.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        table.row([
            webhook.id.to_string(),
            webhook.url.clone(),
            on.join(","),
            webhook.queue.as_ref().map(ToString::to_string).unwrap_or_default(),
            labels.join(","),
            format!("{} ago", when::age(now, webhook.created_at)),
        ]);
    }
    table
}

fn log(deliveries: &[Delivery]) -> Table {
    let now = clock::now();
    let mut table = Table::new(["ID", "JOB", "END", "STATE", "TRIES", "AGE", "LAST TRY"]);
    for delivery in deliveries {
        let came = delivery.error.clone().or(delivery.answer.map(|status| status.to_string()));
        table.row([
            delivery.id.to_string(),
            delivery.job.to_string(),
            delivery.on.to_string(),
            delivery.state.to_string(),
            delivery.attempts.to_string(),
            when::age(now, delivery.created_at),
            came.unwrap_or_default(),
        ]);
    }
    table
}

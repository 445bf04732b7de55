//! `orchestra workers`.

use orchestra_contracts::{
    Network,
    worker::{Offer, Worker},
};

use crate::{
    args::{Output, Server},
    clock,
    exit::Exit,
    failure::Failure,
    output::{Format, escape, print, print_json, print_line, table::Table, when},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Workers {
    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

pub(crate) async fn workers(args: Workers) -> Result<Exit, Failure> {
    let workers = args.server.client()?.workers().await?;
    match args.output.format {
        Format::Json => print_json(&workers)?,
        Format::Name => workers.iter().try_for_each(|worker| print_line(&worker.name))?,
        Format::Table => {
            print(&table(&workers).text())?;
            if workers.iter().any(|worker| worker.registration.offer.is_some()) {
                print_line("\nThe most that a job may ask for, and the images that there are:")?;
                print(&offers(&workers).text())?;
            }
            for worker in &workers {
                if let Some(reason) = &worker.unwell {
                    let reason = escape::line(reason);
                    print_line(format!("{} starts no jobs: {reason}", worker.name))?;
                }
            }
        }
    }
    Ok(Exit::SUCCESS)
}

fn table(workers: &[Worker]) -> Table {
    let now = clock::now();
    let mut table = Table::new([
        "NAME", "STATE", "RUNNING", "SLOTS", "QUEUES", "LABELS", "SEEN", "ENGINE", "VERSION",
    ]);
    for worker in workers {
        let about = &worker.registration;
        table.row([
            worker.name.to_string(),
            state(worker).to_owned(),
            worker.running.len().to_string(),
            about.slots.to_string(),
            about.queues.join(","),
            labels(worker),
            format!("{} ago", when::age(now, worker.seen_at)),
            about.engine.clone(),
            about.version.clone(),
        ]);
    }
    table
}

/// Of those that say what they allow.
fn offers(workers: &[Worker]) -> Table {
    let mut table =
        Table::new(["NAME", "CPUS", "MEMORY", "PIDS", "TMP", "NETWORK", "USER", "IMAGES"]);
    for worker in workers {
        let Some(offer) = &worker.registration.offer else { continue };
        let images: Vec<&str> = offer.images.iter().map(String::as_str).collect();
        table.row([
            worker.name.to_string(),
            offer.cpus.to_string(),
            offer.memory.to_string(),
            offer.pids.to_string(),
            offer.tmp.to_string(),
            network(offer).to_owned(),
            offer.user.clone().unwrap_or_default(),
            images.join(","),
        ]);
    }
    table
}

fn labels(worker: &Worker) -> String {
    let labels = worker.registration.labels.iter();
    labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn network(offer: &Offer) -> &'static str {
    match offer.network {
        Network::None => "none",
        Network::Bridge => "bridge",
    }
}

/// In one word how it is.
pub(crate) fn state(worker: &Worker) -> &'static str {
    match worker {
        Worker { online: false, .. } => "away",
        Worker { draining_since: Some(_), .. } => "draining",
        Worker { unwell: Some(_), .. } => "unwell",
        Worker { unwell: None, .. } => "online",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn worker(name: &str, more: &Value) -> Worker {
        let mut about = json!({
            "name": name, "online": true, "slots": 2, "queues": ["default"], "version": "1",
            "running": [], "registeredAt": "2026-01-01T00:00:00Z", "seenAt": "2026-01-01T00:00:00Z",
        });
        about.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(about).unwrap()
    }

    #[test]
    fn what_each_worker_allows_is_a_line() {
        let offer = json!({"offer": {
            "cpus": 1.5, "memory": "4g", "pids": 4096, "tmp": "1g", "network": "bridge",
            "images": ["python", "gcc"], "user": "1000:1000",
        }});
        let workers = [worker("big", &offer), worker("old", &json!({}))];
        assert_eq!(
            offers(&workers).text(),
            "NAME  CPUS  MEMORY  PIDS  TMP  NETWORK  USER       IMAGES\n\
             big   1.5   4g      4096  1g   bridge   1000:1000  gcc,python\n"
        );
    }
}

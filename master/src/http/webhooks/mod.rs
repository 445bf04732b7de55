//! Webhooks. Only admins use these calls: webhooks make the master send requests, and their URLs
//! often contain the receiver's credentials.

use orchestra_contracts::paths;

use super::access::{Routes, Rule};

mod create;
mod delete;
mod deliveries;
mod get;
mod list;
mod redeliver;

pub(super) fn routes() -> Routes {
    Routes::default()
        .post(paths::WEBHOOKS, Rule::Admin, create::handler)
        .get(paths::WEBHOOKS, Rule::Admin, list::handler)
        .get(paths::WEBHOOK, Rule::Admin, get::handler)
        .delete(paths::WEBHOOK, Rule::Admin, delete::handler)
        .get(paths::DELIVERIES, Rule::Admin, deliveries::handler)
        .post(paths::REDELIVER, Rule::Admin, redeliver::handler)
}

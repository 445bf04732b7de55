//! Token management, for admins.

use orchestra_contracts::paths;

use super::access::{Routes, Rule};

mod create;
mod list;
mod revoke;

pub(super) fn routes() -> Routes {
    Routes::default()
        .post(paths::TOKENS, Rule::Admin, create::handler)
        .get(paths::TOKENS, Rule::Admin, list::handler)
        .delete(paths::TOKEN, Rule::Admin, revoke::handler)
}

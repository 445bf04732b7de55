//! Files that are brought before the jobs that have them.

use orchestra_contracts::paths;

use super::access::{Routes, Rule};

mod get;
mod put;

/// Workers fetch what their jobs have; who knows a file's SHA-256 was told of it, or has it.
pub(super) fn routes() -> Routes {
    Routes::default().put(paths::UPLOAD, Rule::Client, put::handler).get(
        paths::UPLOAD,
        Rule::AnyRole,
        get::handler,
    )
}

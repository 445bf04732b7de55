//! Files that are uploaded before the jobs that use them.

use orchestra_contracts::paths;

use super::access::{Routes, Rule};

mod get;
mod put;

/// Any role may fetch a file, since workers need those of their jobs. Knowing a file's SHA-256
/// means having the file, or having been told about it.
pub(super) fn routes() -> Routes {
    Routes::default().put(paths::UPLOAD, Rule::Client, put::handler).get(
        paths::UPLOAD,
        Rule::AnyRole,
        get::handler,
    )
}

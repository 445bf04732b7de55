//! The master: keeps jobs in a database, hands them out, serves the REST API.
//!
//! ```text
//! domain <- store <- service <- http      domain <- live <- http      upkeep -> service
//! ```

pub mod clock;
pub mod domain;
pub mod store;

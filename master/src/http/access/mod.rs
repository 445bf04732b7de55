//! Who is let in, and what each may do.
//!
//! * `browser` refuses what a page of another site asks through somebody's
//!   browser, at every address, known or not.
//! * `routes` is the only way to add a route, and wants its [`Rule`].
//! * `admit` decides: this rule, this token, yes or no.
//! * `cookie` is how a browser shows its token.
//! * `revocation` ends what is still being answered when a token is revoked.

mod admit;
mod browser;
mod cookie;
mod hosts;
mod revocation;
mod routes;
mod rule;

use std::net::IpAddr;

pub(super) use admit::Entry;
pub(super) use browser::{check as check_browser, is_our_page};
pub(super) use cookie::{set as cookie_of, unset as no_cookie};
pub use hosts::Hosts;
pub(super) use routes::Routes;
pub use rule::Rule;

/// How this master is reached, and whether a token is needed.
#[derive(Clone, Debug)]
pub struct Access {
    /// Everybody who reaches it may do everything: no token is looked at.
    open: bool,
    hosts: Hosts,
}

impl Access {
    /// For everybody who reaches the address `listen`.
    pub fn open(listen: IpAddr, hosts: Hosts) -> Self {
        Self { open: true, hosts: hosts.and(listen) }
    }

    /// For those who have a token.
    pub fn with_tokens(hosts: Hosts) -> Self {
        Self { open: false, hosts }
    }
}

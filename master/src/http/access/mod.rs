//! Authentication and authorization.
//!
//! * `browser` refuses requests that another site's page makes through a user's browser, whatever
//!   the address.
//! * `routes` is the only way to add a route, and requires its [`Rule`].
//! * `admit` checks a request's token against the route's rule.
//! * `cookie` holds the token of a browser session.
//! * `revocation` cuts off responses in progress when their token is revoked.

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

/// The host names of this master, and whether a token is required.
#[derive(Clone, Debug)]
pub struct Access {
    /// No token is required: everybody who reaches the master may do everything.
    open: bool,
    hosts: Hosts,
}

impl Access {
    /// Access for everybody who reaches the address `listen`.
    pub fn open(listen: IpAddr, hosts: Hosts) -> Self {
        Self { open: true, hosts: hosts.and(listen) }
    }

    /// Access for holders of a token.
    pub fn with_tokens(hosts: Hosts) -> Self {
        Self { open: false, hosts }
    }
}

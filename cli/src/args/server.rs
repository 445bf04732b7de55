//! Which master is meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use orchestra_client::Client;
use orchestra_contracts::DEFAULT_PORT;
use orchestra_program::TraceParent;
use orchestra_worker::Credentials;

use crate::failure::Failure;

#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Server {
    #[arg(
        long,
        env = "ORCHESTRA_URL",
        help = "The master's address [default: http://127.0.0.1:5216]"
    )]
    url: Option<String>,

    #[command(flatten)]
    credentials: Credentials,

    /// Where a master of this machine listens; `up` and `master` read the same variable
    #[arg(long = "listen", env = "ORCHESTRA_LISTEN", hide = true)]
    listen: Option<SocketAddr>,

    /// Of which trace this call is a part; pipelines set the variable
    #[arg(long = "traceparent", env = "TRACEPARENT", hide = true)]
    traceparent: Option<String>,
}

impl Server {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let client = self.credentials.client(&self.address())?;
        Ok(match self.caller() {
            Some(caller) => client.with_trace(&caller.to_string()),
            None => client,
        })
    }

    /// The trace that this call is a part of. What names none is ignored.
    pub(crate) fn caller(&self) -> Option<TraceParent> {
        self.traceparent.as_deref()?.parse().ok()
    }

    /// Whether nobody said which master: then one may be brought up for a while.
    pub(crate) fn is_unspoken(&self) -> bool {
        self.url.is_none()
    }

    fn address(&self) -> String {
        match (&self.url, self.listen) {
            (Some(url), _) => url.clone(),
            (None, Some(listen)) => url_of(listen),
            (None, None) => format!("http://127.0.0.1:{DEFAULT_PORT}"),
        }
    }
}

/// Where to reach, from this machine, what listens at `address`.
pub(crate) fn url_of(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_counts() {
        let server = |url: Option<&str>, listen: Option<&str>| Server {
            url: url.map(str::to_owned),
            listen: listen.map(|address| address.parse().unwrap()),
            ..Server::default()
        };
        assert_eq!(server(None, None).address(), "http://127.0.0.1:5216");
        assert_eq!(server(None, Some("0.0.0.0:80")).address(), "http://127.0.0.1:80");
        assert_eq!(server(None, Some("[::]:81")).address(), "http://[::1]:81");
        assert_eq!(server(Some("master:9"), Some("0.0.0.0:80")).address(), "master:9");
    }
}

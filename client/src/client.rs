//! The connection to one master: sending, timeouts, and the reading of answers.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use orchestra_contracts::{DEFAULT_PORT, Problem, Token};
use reqwest::{
    Method, Request, RequestBuilder, Response, Url,
    header::{AUTHORIZATION, HeaderValue},
    redirect,
};
use serde::de::DeserializeOwned;

use crate::{ClientError, tls, token};

/// A master is near or it is down; a name that resolves to a black hole should
/// not hold anybody up for long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For calls that the master answers at once. A commit on a slow disk is in it.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The master closes a connection that was idle for ten seconds. One that we
/// drop first is never picked for a request in the moment in which it is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a call that the master holds open may take beyond the agreed wait.
const WAIT_MARGIN: Duration = Duration::from_secs(15);

/// What carries a request to a master and its answer back, when it is not the
/// network: the simulation has one that loses and repeats what it likes.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// The answer from its head on, or why there is none. A request may say after
    /// which time it is given up, its answer's body included.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, String>>;
}

/// A client of one master. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Carries the requests instead of the network.
    transport: Option<Arc<dyn Transport>>,
    /// Without a slash at its end.
    url: Arc<str>,
    /// Does not print.
    authorization: Option<HeaderValue>,
    /// The header `traceparent` of every request.
    trace: Option<HeaderValue>,
}

impl Client {
    /// A client for the master at `url`: `http://127.0.0.1:5216`, `https://master`,
    /// `host:port` or a bare host. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Self::trusting(url, None)
    }

    /// The same; over https it believes only those for whom the authority in this
    /// file (PEM) vouches, instead of the system's.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn trusting(url: &str, authority: Option<&Path>) -> Result<Self, ClientError> {
        let refuse = |reason: String| ClientError::Address { url: url.to_owned(), reason };
        let parsed = parse(url).map_err(refuse)?;
        let is_secure = parsed.scheme() == "https";
        let tls = if is_secure { tls::config(authority) } else { tls::unused() };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.map_err(refuse)?)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("orchestra/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&parsed) {
            // A proxy cannot reach this machine's loopback, whatever http_proxy says.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| refuse(error.to_string()))?;
        let url = parsed.as_str().trim_end_matches('/').into();
        Ok(Self { http, transport: None, url, authorization: None, trace: None })
    }

    /// The same client, which shows this token with every request.
    ///
    /// # Errors
    /// [`ClientError::Token`].
    pub fn with_token(self, token: &Token) -> Result<Self, ClientError> {
        Ok(Self { authorization: Some(token::header_of(token)?), ..self })
    }

    /// The same client, whose requests are parts of this trace, as W3C Trace Context writes it.
    /// What cannot stand in a header is no trace.
    #[must_use]
    pub fn with_trace(self, traceparent: &str) -> Self {
        Self { trace: HeaderValue::from_str(traceparent).ok(), ..self }
    }

    /// The same client, whose requests another transport carries.
    #[must_use]
    pub fn over(self, transport: Arc<dyn Transport>) -> Self {
        Self { transport: Some(transport), ..self }
    }

    /// Whether what it sends could be read on a network.
    pub fn is_in_clear(&self) -> bool {
        parse(&self.url).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url))
    }

    /// The master's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A request without a time limit of its own.
    pub(crate) fn open(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(trace) = &self.trace {
            request = request.header("traceparent", trace.clone());
        }
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    /// A request that the master answers at once.
    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.open(method, path).timeout(CALL_TIMEOUT)
    }

    /// A request that the master may hold open for `wait`.
    pub(crate) fn waiting_call(
        &self,
        method: Method,
        path: &str,
        wait: Duration,
    ) -> RequestBuilder {
        self.open(method, path).timeout(wait.saturating_add(WAIT_MARGIN))
    }

    /// Sends; any status but 2xx is an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = self.carry(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = self.body(response).await?;
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => ClientError::Refused(Box::new(problem)),
            Err(_) => ClientError::unreadable(
                &self.url,
                status,
                format!("status {status} with {} bytes that are no problem report", body.len()),
            ),
        })
    }

    /// The only place where a request leaves.
    async fn carry(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let broken = |error: reqwest::Error| ClientError::transport(&self.url, &error);
        let Some(transport) = &self.transport else {
            return request.send().await.map_err(broken);
        };
        let request = request.build().map_err(broken)?;
        let unreachable =
            |reason| ClientError::Unreachable { url: self.url.to_string(), reason, sent: true };
        transport.send(request).await.map_err(unreachable)
    }

    /// Sends, and waits for the answer to begin at most as long as a call may take.
    pub(crate) async fn send_open(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        match tokio::time::timeout(CALL_TIMEOUT, self.send(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Unreachable {
                url: self.url.to_string(),
                reason: "it took too long".to_owned(),
                sent: true,
            }),
        }
    }

    pub(crate) async fn fetch<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        self.read(response).await
    }

    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        response: Response,
    ) -> Result<T, ClientError> {
        let status = response.status().as_u16();
        let body = self.body(response).await?;
        serde_json::from_slice(&body)
            .map_err(|error| ClientError::unreadable(&self.url, status, error.to_string()))
    }

    pub(crate) async fn body(&self, response: Response) -> Result<bytes::Bytes, ClientError> {
        response.bytes().await.map_err(|error| ClientError::transport(&self.url, &error))
    }
}

fn parse(text: &str) -> Result<Url, String> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let mut url = Url::parse(&with_scheme).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http:// and https:// are spoken here".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it ends in a query or a fragment".into());
    }
    // "host" and "host:5216" are shorthands for our port; a full URL means what it says.
    if url.port().is_none() && !text.contains("://") && !has_port(text) {
        url.set_port(Some(DEFAULT_PORT)).map_err(|()| "it has no host".to_owned())?;
    }
    Ok(url)
}

/// Whether a port was written: the URL parser drops the scheme's own one.
fn has_port(text: &str) -> bool {
    let authority = text.split('/').next().unwrap_or(text);
    authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_usual_form() {
        for (text, url) in [
            ("http://127.0.0.1:5216", "http://127.0.0.1:5216"),
            ("http://127.0.0.1:5216/", "http://127.0.0.1:5216"),
            ("master:5216", "http://master:5216"),
            ("master", "http://master:5216"),
            ("master:80", "http://master"),
            ("[::1]:9", "http://[::1]:9"),
            ("https://master", "https://master"),
            ("https://10.0.0.1:5216/", "https://10.0.0.1:5216"),
            ("http://master/behind/", "http://master/behind"),
        ] {
            assert_eq!(Client::new(text).expect(text).url(), url, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_for_good() {
        for text in ["", "ftp://x", "http://", "a b", "http://x?y"] {
            let error = Client::new(text).expect_err(text);
            assert!(matches!(error, ClientError::Address { .. }), "{text}: {error}");
            assert!(!error.is_temporary());
        }
    }

    #[test]
    fn only_tls_and_loopback_keep_a_secret() {
        let is_in_clear = |url: &str| Client::new(url).expect(url).is_in_clear();
        assert!(is_in_clear("http://master:5216") && is_in_clear("10.0.0.1"));
        assert!(!is_in_clear("https://master") && !is_in_clear("http://[::1]:80"));
        let missing = Client::trusting("https://master", Some(Path::new("/no/such.pem")));
        assert!(missing.unwrap_err().to_string().contains("/no/such.pem"));
    }

    #[test]
    fn loopback_is_known_in_each_spelling() {
        for text in ["localhost:1", "127.0.0.1:1", "127.9.9.9", "[::1]:1"] {
            assert!(is_loopback(&parse(text).expect(text)), "{text}");
        }
        assert!(!is_loopback(&parse("10.0.0.1").expect("an address")));
    }
}

//! The connection to one master: sending requests, timeouts, and reading answers.

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

/// A master is either near or down. A name that resolves to a dead address should not cause a long
/// wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For calls that the master answers at once. This includes a commit on a slow disk.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The master closes a connection that was idle for ten seconds. This client drops it first, so it
/// never picks a connection for a request just as the master closes it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call that the master holds open may take beyond the agreed wait.
const WAIT_MARGIN: Duration = Duration::from_secs(15);

/// Carries requests to a master and its answers back in place of the network. The simulation has
/// one that loses and repeats messages.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Returns the answer as soon as its head has arrived, or why there is none. The timeout of a
    /// request, if it has one, includes the body of the answer.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, String>>;
}

/// A client of one master. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Carries the requests in place of the network.
    transport: Option<Arc<dyn Transport>>,
    /// Without a trailing slash.
    url: Arc<str>,
    /// Marked as sensitive, so `Debug` does not show it.
    authorization: Option<HeaderValue>,
    /// The header `traceparent` of every request.
    trace: Option<HeaderValue>,
}

impl Client {
    /// A client for the master at `url`: `http://127.0.0.1:5216`, `https://master`, `host:port` or
    /// a bare host. This sends nothing.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Self::trusting(url, None)
    }

    /// Like [`Client::new`]. Over https it trusts only the certificate authority in this file
    /// (PEM), in place of the system's.
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

    /// The same client, but every request carries this token.
    ///
    /// # Errors
    /// [`ClientError::Token`].
    pub fn with_token(self, token: &Token) -> Result<Self, ClientError> {
        Ok(Self { authorization: Some(token::header_of(token)?), ..self })
    }

    /// The same client, but its requests belong to this trace, in the format of W3C Trace Context.
    /// A value that is not valid in a header is ignored.
    #[must_use]
    pub fn with_trace(self, traceparent: &str) -> Self {
        Self { trace: HeaderValue::from_str(traceparent).ok(), ..self }
    }

    /// The same client, but another transport carries its requests.
    #[must_use]
    pub fn over(self, transport: Arc<dyn Transport>) -> Self {
        Self { transport: Some(transport), ..self }
    }

    /// Whether its requests could be read on the network.
    pub fn is_in_clear(&self) -> bool {
        parse(&self.url).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url))
    }

    /// The master's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A request without its own timeout.
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

    /// Sends a request; any status but 2xx is an error.
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

    /// The only place that sends requests.
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

    /// Sends a request and waits for the head of the answer for at most [`CALL_TIMEOUT`].
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
    // "host" and "host:5216" are short forms that imply our port; a full URL is taken literally.
    if url.port().is_none() && !text.contains("://") && !has_port(text) {
        url.set_port(Some(DEFAULT_PORT)).map_err(|()| "it has no host".to_owned())?;
    }
    Ok(url)
}

/// Whether the text contains a port. The URL parser drops the default port of the scheme.
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

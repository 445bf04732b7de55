//! Sends webhook messages to addresses that users chose, and keeps them from reaching addresses
//! that they must not reach.
//!
//! ```text
//! target    parses a URL, and checks literal addresses in it
//! resolve   looks up host names for each request
//!    both ask
//! address   decides which addresses may be reached; knows the operator's exceptions
//! sign      signs messages, so that a receiver can verify the sender
//! ```
//! A request follows no redirect, uses no proxy from the environment, does not keep its connection,
//! and reads nothing of the response but its status.

mod address;
mod resolve;
mod sign;
mod target;

use std::{error::Error as _, sync::Arc, time::Duration};

use reqwest::{Client, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::sync::OnceCell;

pub use address::Reachable;
pub use sign::{SigningKey, WrongSecret};
pub use target::{Target, WrongTarget};

use crate::domain::Answer;

/// The limit on one message, from the name lookup to the response's status.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Sends messages.
#[derive(Debug)]
pub struct Courier {
    reachable: Reachable,
    /// Made for the first message: most masters never send one, and loading the system's root
    /// certificates takes time.
    client: OnceCell<Client>,
}

/// One delivery attempt of a message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The same for every attempt.
    pub id: String,
    /// The time of this attempt, in seconds since 1970.
    pub timestamp: i64,
    pub body: String,
}

impl Courier {
    /// A courier that may also reach the networks that the operator allows.
    pub fn new(reachable: Reachable) -> Self {
        Self { reachable, client: OnceCell::new() }
    }

    /// Parses the URL of a webhook.
    ///
    /// # Errors
    /// When it is not an acceptable URL; the message says why.
    pub fn target(&self, url: &str) -> Result<Target, WrongTarget> {
        Target::parse(url, &self.reachable)
    }

    /// Sends a message once. It takes no longer than [`TIME_LIMIT`].
    pub async fn send(&self, target: &Target, key: &SigningKey, message: Message) -> Answer {
        let sending = self.try_to_send(target, key, message);
        match tokio::time::timeout(TIME_LIMIT, sending).await {
            Ok(Ok(status)) => Answer::Status(status),
            Ok(Err(reason)) => Answer::None(reason),
            Err(_) => Answer::None(format!("it took longer than {} s", TIME_LIMIT.as_secs())),
        }
    }

    async fn try_to_send(
        &self,
        target: &Target,
        key: &SigningKey,
        message: Message,
    ) -> Result<u16, String> {
        let client = self.client.get_or_try_init(async || self.connect()).await?;
        let signature = key.sign(&message.id, message.timestamp, &message.body);
        let request = client
            .post(target.url().clone())
            .header("content-type", "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", signature)
            .body(message.body);
        let answer = request.send().await.map_err(|error| reason(&error))?;
        // The body is not read: it ends with the connection.
        Ok(answer.status().as_u16())
    }

    fn connect(&self) -> Result<Client, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(resolve::Resolver::of(self.reachable.clone()))
            .redirect(redirect::Policy::none())
            // A proxy would look up the name itself.
            .no_proxy()
            // Each message gets its own connection, to an address that was checked for it.
            .pool_max_idle_per_host(0)
            .referer(false)
            .timeout(TIME_LIMIT)
            .user_agent(concat!("orchestra/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())
    }
}

/// The innermost source of the error. The outer ones only say that sending failed, and name the
/// URL, which may hold a secret.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("it took longer than {} s", TIME_LIMIT.as_secs());
    }
    let mut source = error.source();
    let mut innermost = None;
    while let Some(error) = source {
        innermost = Some(error.to_string());
        source = error.source();
    }
    innermost.unwrap_or_else(|| "it could not be sent".to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener};

    use super::*;

    /// A courier that may reach any address of this machine.
    fn courier() -> Courier {
        Courier::new(Reachable::with(vec!["127.0.0.0/8".parse().unwrap()]))
    }

    fn message() -> Message {
        Message { id: "msg_1".to_owned(), timestamp: 1, body: "{}".to_owned() }
    }

    #[tokio::test]
    async fn a_receiver_that_never_answers_is_left_after_the_time_limit() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let courier = courier();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let (target, key) = (courier.target(&url).unwrap(), SigningKey::make());
        let sent = courier.send(&target, &key, message());
        let taken = async {
            let (mut connection, _) = silent.accept().await.unwrap();
            connection.read_u8().await.unwrap();
            tokio::time::pause();
            let begun = tokio::time::Instant::now();
            (connection, begun)
        };
        let (answer, (_connection, begun)) = tokio::join!(sent, taken);
        assert_eq!(answer, Answer::None("it took longer than 10 s".to_owned()));
        assert!(begun.elapsed() <= TIME_LIMIT, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_refused_when_it_is_looked_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
        let courier = Courier::new(Reachable::default());
        let target = courier.target(&url).expect("a name may lead anywhere");
        let answer = courier.send(&target, &SigningKey::make(), message()).await;
        let Answer::None(reason) = answer else { panic!("{answer:?}") };
        assert!(reason.contains("ORCHESTRA_WEBHOOK_ALLOW"), "{reason}");
        let nobody = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
        assert!(nobody.is_err(), "nothing was sent");
    }

    #[tokio::test]
    async fn a_reason_does_not_name_the_url() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let courier = courier();
        let target = courier.target(&format!("http://{gone}/?key=hunter2")).unwrap();
        let answer = courier.send(&target, &SigningKey::make(), message()).await;
        let Answer::None(reason) = answer else { panic!("{answer:?}") };
        assert!(reason.contains("refused") && !reason.contains("hunter2"), "{reason}");
    }
}

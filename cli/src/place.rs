//! Where the master is: named, on this machine already, or to be brought up here.

use std::time::Duration;

use orchestra_client::{Client, ClientError};
use orchestra_master::MasterError;
use orchestra_worker::WarmConfig;
use tokio::time::timeout;

use crate::{
    args::Server,
    failure::Failure,
    local::{Local, Settings},
};

/// A master on this machine answers at once, or it is none.
const PROBE: Duration = Duration::from_secs(5);

/// Where `run` finds its master.
#[derive(Debug)]
pub(crate) enum Place {
    There(Client),
    Here(Local),
}

impl Place {
    /// The master that was named, else one that listens on this machine, else an
    /// own one for as long as this program runs.
    pub(crate) async fn find(server: &Server) -> Result<Self, Failure> {
        let client = server.client()?;
        if !server.is_unspoken() {
            return Ok(Self::There(client));
        }
        match ask(&client).await {
            Answer::Master => return Ok(Self::There(client)),
            Answer::SomethingElse(error) => return Err(taken(&client, &error)),
            Answer::Nobody(_) => {}
        }
        let mut settings = Settings::read([])?;
        // It is here for one job.
        settings.worker.warm = WarmConfig::NONE;
        match Local::start(settings).await {
            // Somebody else was quicker, most likely another `run`.
            Err(Failure::Master(error @ MasterError::AddressInUse(_))) => {
                match ask(&client).await {
                    Answer::Master => Ok(Self::There(client)),
                    Answer::SomethingElse(error) => Err(taken(&client, &error)),
                    Answer::Nobody(_) => Err(error.into()),
                }
            }
            started => started.map(Self::Here),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        match self {
            Self::There(client) => client,
            Self::Here(local) => local.client(),
        }
    }
}

fn taken(client: &Client, error: &ClientError) -> Failure {
    Failure::said(format!(
        "{} is taken by something that is no master ({error}); stop that, or choose another port \
         with ORCHESTRA_LISTEN",
        client.url()
    ))
}

/// Who is at an address.
#[derive(Debug)]
pub(crate) enum Answer {
    Master,
    Nobody(ClientError),
    SomethingElse(ClientError),
}

pub(crate) async fn ask(client: &Client) -> Answer {
    let silence = || ClientError::Unreachable {
        url: client.url().to_owned(),
        reason: "it took too long".to_owned(),
        sent: true,
    };
    match timeout(PROBE, client.healthy()).await.unwrap_or_else(|_| Err(silence())) {
        // A master that refuses is a master; whatever is asked of it next says why.
        Ok(()) | Err(ClientError::Refused(_)) => Answer::Master,
        Err(error @ ClientError::Unreadable { .. }) => Answer::SomethingElse(error),
        Err(error) => Answer::Nobody(error),
    }
}

//! `orchestra top`: jobs and workers as they are now, over the whole screen.
//!
//! `picture` is what is shown and where it comes from, `screen` how it is drawn and what the
//! keys do to it, `keys` how keys arrive.

mod keys;
mod picture;
mod screen;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, stdin, stdout};

use orchestra_client::Client;
use orchestra_contracts::Span;
use tokio::time::{MissedTickBehavior, interval};

use self::{
    keys::Keys,
    picture::{Picture, last_lines},
    screen::{Order, Screen},
};
use crate::{args::Server, exit::Exit, failure::Failure, output::print};

/// So wide and high is what is printed where there is no screen.
const PRINTED: (u16, u16) = (120, 40);

#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    /// How often it looks
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: Span,

    /// Print what it would show, once, and end; so it is where the output is no terminal
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    server: Server,
}

pub(crate) async fn top(args: Top) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    // Before the screen changes: a master that is not there is told as everywhere.
    let picture = Picture::take(&client).await?;
    let screen = Screen::new(client.url(), picture);
    if args.once || !stdout().is_terminal() || !stdin().is_terminal() {
        print(&screen.text(PRINTED))?;
        return Ok(Exit::SUCCESS);
    }
    let mut terminal = ratatui::try_init()?;
    let ended = watch(&client, screen, &mut terminal, args.interval).await;
    ratatui::restore();
    ended.map(|()| Exit::SUCCESS)
}

/// Until the user leaves.
async fn watch(
    client: &Client,
    mut screen: Screen,
    terminal: &mut ratatui::DefaultTerminal,
    pause: Span,
) -> Result<(), Failure> {
    let mut keys = Keys::listen();
    let mut looks = interval(pause.0.max(std::time::Duration::from_millis(100)));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        let order = tokio::select! {
            biased;
            event = keys.next() => match event {
                Some(event) => screen.obey(&event?),
                None => return Ok(()),
            },
            _ = looks.tick() => Some(Order::Look),
        };
        match order {
            None => {}
            Some(Order::Leave) => return Ok(()),
            Some(Order::Look) => look(client, &mut screen).await,
            Some(Order::Cancel(id)) => {
                let done = client.cancel(id).await;
                screen.say(done.map_or_else(
                    |error| error.to_string(),
                    |_| format!("job {id} is being cancelled"),
                ));
                look(client, &mut screen).await;
            }
            Some(Order::Retry(id)) => {
                let done = client.retry(id).await;
                screen.say(
                    done.map_or_else(
                        |error| error.to_string(),
                        |_| format!("job {id} waits again"),
                    ),
                );
                look(client, &mut screen).await;
            }
        }
    }
}

/// A master that does not answer leaves the old picture, with a word about it.
async fn look(client: &Client, screen: &mut Screen) {
    match Picture::take(client).await {
        Ok(picture) => screen.show(picture),
        Err(error) => screen.say(error.to_string()),
    }
    if let Some(id) = screen.reads() {
        let log = last_lines(client, id, screen::LOG_LINES).await;
        screen.show_log(log.unwrap_or_else(|error| error.to_string()));
    }
}

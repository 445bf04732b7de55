//! `orchestra up`.

use orchestra_program::Signals;

use crate::{
    exit::Exit,
    failure::Failure,
    local::{Local, Settings},
    output::{print, say},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    #[command(flatten)]
    settings: Settings,
}

pub(crate) async fn up(args: Up) -> Result<Exit, Failure> {
    let mut signals = Signals::listen();
    let mut local = tokio::select! {
        local = Local::start(args.settings) => local?,
        () = signals.next() => return Ok(Exit::SUCCESS),
    };
    print(&greeting(&local))?;
    let failure = tokio::select! {
        () = signals.next() => None,
        failure = local.failed() => Some(failure),
    };
    if failure.is_none() {
        say("stopping; jobs get a moment to end, another Ctrl-C ends them at once");
    }
    let stopped = local.stop(&mut signals).await;
    failure.map_or(stopped, Err)?;
    Ok(Exit::SUCCESS)
}

fn greeting(local: &Local) -> String {
    format!(
        "Orchestra is up: {url}, worker {worker}\n\
         Jobs run in {files}\n\
         In another terminal: orchestra run 'echo hello'    (here: Ctrl-C stops it)\n",
        url = local.client().url(),
        worker = local.worker(),
        files = local.worker_files().display(),
    )
}

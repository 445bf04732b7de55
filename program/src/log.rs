//! Logs of the programs in this process: for people who look at a terminal or a journal, or one JSON
//! object a line for what collects logs.

use std::{
    fmt::Display,
    io::{self, IsTerminal},
    sync::OnceLock,
};

use clap::ValueEnum;
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, util::SubscriberInitExt as _};

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One object a line: timestamp, level, target, message, its fields, and in `span` the request
    Json,
}

/// Whether standard error may carry colours (<https://no-color.org>).
pub fn colours() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !no_color
}

/// Begins to log what the filter lets through (`info`, `orchestra_master=debug,warn`).
/// What cannot be read of it is left out.
///
/// # Panics
/// When it is called twice.
pub fn log_to_stderr(filter: &str, format: LogFormat) {
    let (subscriber, change) = subscriber(filter, format, colours(), io::stderr);
    subscriber.init();
    // Whoever is here has just become the only one.
    let _ = CHANGE.set(change);
}

/// From now on this is let through; nothing changes where the filter cannot be read.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn set_log_filter(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::builder().parse(filter).map_err(|error| format!("the log: {error}"))?;
    match CHANGE.get() {
        Some(change) => change(filter),
        None => Err("the log: there is none".to_owned()),
    }
}

/// Changes what is let through.
type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    colours: bool,
    writer: W,
) -> (Box<dyn Subscriber + Send + Sync>, Change)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse_lossy(filter);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Text => {
            let lines = lines.with_ansi(colours).with_filter_reloading();
            let handle = lines.reload_handle();
            (Box::new(lines.finish()), change(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_span_list(false);
            let lines = lines.with_filter_reloading();
            let handle = lines.reload_handle();
            (Box::new(lines.finish()), change(move |filter| handle.reload(filter)))
        }
    }
}

fn change<E: Display>(
    reload: impl Fn(EnvFilter) -> Result<(), E> + Send + Sync + 'static,
) -> Change {
    Box::new(move |filter| reload(filter).map_err(|error| format!("the log: {error}")))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, change) = subscriber("info", format, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("request", id = "r1", trace_id = "t1");
            let _within = span.enter();
            tracing::warn!(job = 7, "a lease\nran out");
            tracing::debug!("nobody asked for this");
            change(EnvFilter::new("off")).unwrap();
            tracing::warn!("nor for this any more");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_of_json_has_the_message_its_fields_and_the_request() {
        let text = logged(LogFormat::Json);
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "a lease\nran out");
        assert_eq!(line["job"], 7);
        assert_eq!((&line["span"]["id"], &line["span"]["trace_id"]), (&"r1".into(), &"t1".into()));
        assert!(line["timestamp"].is_string() && line["target"].is_string(), "{line}");
    }

    #[test]
    fn text_is_a_line_for_people() {
        let text = logged(LogFormat::Text);
        assert!(text.contains("WARN") && text.contains("job=7"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}

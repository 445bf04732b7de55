//! The logs of the programs in this process: as text for a terminal or a journal, or as one JSON
//! object per line for log collectors.

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
};

use clap::ValueEnum;
use tracing::Subscriber;
use tracing_subscriber::{
    Registry,
    filter::Targets,
    fmt::MakeWriter,
    layer::{Layer, SubscriberExt as _},
    reload,
    util::SubscriberInitExt as _,
};

/// The format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object per line: timestamp, level, target, message, fields, and the request in `span`
    Json,
}

/// Whether standard error may have colours (<https://no-color.org>).
pub fn colours() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !no_color
}

/// Starts logging to standard error what the filter allows (`info`, `orchestra_master=debug,warn`).
/// Parts of the filter that cannot be parsed are ignored.
///
/// # Panics
/// If it is called twice.
pub fn log_to_stderr(filter: &str, format: LogFormat) {
    let (subscriber, filter) = subscriber(filter, format, colours(), io::stderr);
    subscriber.init();
    // `init` panics in a second call, so this is the only one.
    let _ = FILTER.set(filter);
}

/// Replaces the log filter. An invalid filter changes nothing.
///
/// # Errors
/// A sentence that says what is wrong with the filter.
pub fn set_log_filter(filter: &str) -> Result<(), String> {
    let filter: Targets = filter.parse().map_err(|error| format!("the log: {error}"))?;
    let Some(now) = FILTER.get() else { return Err("the log: there is none".to_owned()) };
    now.reload(filter).map_err(|error| format!("the log: {error}"))
}

/// Changes the filter of the running subscriber.
type Filter = reload::Handle<Targets, Registry>;

static FILTER: OnceLock<Filter> = OnceLock::new();

fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    colours: bool,
    writer: W,
) -> (impl Subscriber + Send + Sync, Filter)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(readable(filter));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(colours).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    (tracing_subscriber::registry().with(filter).with(lines), handle)
}

/// The valid parts of a filter; only errors are logged if there is none.
fn readable(filter: &str) -> Targets {
    let parts: Vec<_> = filter.split(',').filter(|part| part.parse::<Targets>().is_ok()).collect();
    let none = Targets::new().with_default(tracing::Level::ERROR);
    if parts.is_empty() { none } else { parts.join(",").parse().unwrap_or(none) }
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
        let (subscriber, filter) = subscriber("info", format, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("request", id = "r1", trace_id = "t1");
            let _within = span.enter();
            tracing::warn!(job = 7, "a lease\nran out");
            tracing::debug!("nobody asked for this");
            filter.reload(Targets::new()).unwrap();
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

    #[test]
    fn a_filter_is_levels_by_target_and_what_cannot_be_read_of_it_is_left_out() {
        use tracing::Level;
        let filter = readable("orchestra_master=debug,orchestra_worker=loud,warn");
        assert!(filter.would_enable("orchestra_master::store", &Level::DEBUG));
        assert!(filter.would_enable("orchestra_worker", &Level::WARN));
        assert!(!filter.would_enable("orchestra_worker", &Level::INFO));
        for none in ["", "a=b=c", "loud=loud"] {
            let filter = readable(none);
            assert!(filter.would_enable("orchestra_master", &Level::ERROR), "{none:?}");
            assert!(!filter.would_enable("orchestra_master", &Level::WARN), "{none:?}");
        }
        assert!(!readable("off").would_enable("orchestra_master", &Level::ERROR));
        assert!(set_log_filter("orchestra_master=loud").unwrap_err().starts_with("the log: "));
    }
}

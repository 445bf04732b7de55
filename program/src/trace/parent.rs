//! The header `traceparent`: <https://www.w3.org/TR/trace-context/>, section 3.2.

use std::{fmt, str::FromStr};

/// A position in a trace: the trace, and the span that is the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: String,
    span: String,
    flags: String,
}

impl TraceParent {
    /// The name of the header.
    pub const HEADER: &str = "traceparent";
    /// The label that carries it with a job, from the submission to the job's end.
    pub const LABEL: &str = "traceparent";

    pub fn trace_id(&self) -> &str {
        &self.trace
    }

    #[cfg(feature = "otel")]
    pub(super) fn parts(&self) -> [&str; 3] {
        [&self.trace, &self.span, &self.flags]
    }
}

/// Always in the format of the first version, whichever version was read.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{}", self.trace, self.span, self.flags)
    }
}

/// Text in any other format is not a trace.
impl FromStr for TraceParent {
    type Err = NoTrace;

    fn from_str(text: &str) -> Result<Self, NoTrace> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(NoTrace);
        let (version, trace, span, flags) = (next()?, next()?, next()?, next()?);
        let is_hex = |text: &str, length: usize| {
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            text.len() == length && text.bytes().all(is_digit)
        };
        let is_set = |text: &str| text.bytes().any(|byte| byte != b'0');
        let sound = is_hex(version, 2) && version != "ff" && is_hex(flags, 2);
        let sound = sound && is_hex(trace, 32) && is_set(trace) && is_hex(span, 16) && is_set(span);
        // Later versions may add parts; the first has none.
        if !sound || (version == "00" && parts.next().is_some()) {
            return Err(NoTrace);
        }
        Ok(Self { trace: trace.to_owned(), span: span.to_owned(), flags: flags.to_owned() })
    }
}

/// The text is not a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTrace;

impl fmt::Display for NoTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is no traceparent of W3C Trace Context")
    }
}

impl std::error::Error for NoTrace {}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_trace_is_known_by_its_header_alone() {
        let of = |text: String| text.parse::<TraceParent>().ok();
        let first = format!("00-{TRACE}-b7ad6b7169203331-01");
        assert_eq!(of(first.clone()).unwrap().to_string(), first);
        let later = of(format!("01-{TRACE}-b7ad6b7169203331-01-more")).unwrap();
        assert_eq!((later.trace_id(), later.to_string()), (TRACE, first));
        for wrong in [
            String::new(),
            TRACE.to_owned(),
            format!("00-{TRACE}-b7ad6b7169203331"),
            format!("00-{TRACE}-b7ad6b7169203331-01-more"),
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}x-b7ad6b7169203331-01"),
        ] {
            assert_eq!(of(wrong.clone()), None, "{wrong}");
        }
    }
}

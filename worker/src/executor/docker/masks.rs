//! The forms of a job's secrets that PID 1 masks in its log.
//!
//! Masking is for accidents, such as `env`, `set -x` or an error that quotes a request. A command
//! that wants to reveal a secret can: it may print it backwards.

use std::collections::BTreeSet;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use orchestra_contracts::{Secret, limits};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that RFC 3986 (2.3) never encodes.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// ECMAScript's `encodeURIComponent` also leaves these as they are.
const COMPONENT: &AsciiSet =
    &UNRESERVED.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');
/// Used in paths, and by Python's `quote`.
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// Columns at which `base64` and `openssl base64` begin a new line.
const COLUMNS: [usize; 2] = [76, 64];

/// Every form of every secret, except forms too short to be distinct from ordinary words.
pub(super) fn of<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Vec<Vec<u8>> {
    let mut all = BTreeSet::new();
    for secret in secrets {
        let value = secret.expose();
        forms(value, &mut all);
        // Blanks at the edges are often lost, and lines are often indented.
        forms(value.trim(), &mut all);
        all.extend(value.lines().map(|line| line.trim().to_owned()));
    }
    let all = all.into_iter().map(String::into_bytes);
    all.filter(|form| form.len() >= limits::SECRET_BYTES_MIN).collect()
}

fn forms(value: &str, all: &mut BTreeSet<String>) {
    all.insert(value.to_owned());
    all.insert(json(value));
    all.insert(json(value).replace('/', "\\/"));
    all.insert(json_ascii(value));
    let hexadecimal = hex::encode(value);
    all.insert(hexadecimal.to_uppercase());
    all.insert(hexadecimal);
    for set in [UNRESERVED, COMPONENT, PATH] {
        let encoded = utf8_percent_encode(value, set).to_string();
        for encoded in [encoded.replace("%20", "+"), encoded] {
            all.insert(with_small_digits(&encoded));
            all.insert(encoded);
        }
    }
    for skipped in 0..3 {
        all.extend([&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].map(|kind| base64(kind, value, skipped)));
    }
    let whole = base64(&STANDARD_NO_PAD, value, 0);
    for columns in COLUMNS.into_iter().filter(|columns| whole.len() > *columns) {
        let lines = whole.as_bytes().chunks(columns);
        all.extend(lines.map(|line| String::from_utf8_lossy(line).into_owned()));
    }
}

/// The value as the content of a JSON string.
fn json(value: &str) -> String {
    let quoted = serde_json::to_string(value).unwrap_or_default();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// The same from writers that keep to ASCII, as Python's does (RFC 8259, section 7).
fn json_ascii(value: &str) -> String {
    let mut text = String::new();
    for c in json(value).chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            let mut units = [0; 2];
            text.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

/// Turns `%2F` into `%2f`.
fn with_small_digits(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        text.extend(["%", &digits.to_ascii_lowercase(), rest]);
    }
    text
}

/// The base64 characters whose bits all belong to the value, when `skipped` bytes (of three) come
/// before it. At most four bits are left out at each edge.
fn base64(kind: &impl Engine, value: &str, skipped: usize) -> String {
    let bytes = [&b"\0\0"[..skipped], value.as_bytes()].concat();
    let whole = bytes.len() * 8 / 6;
    let first = (skipped * 8).div_ceil(6);
    kind.encode(bytes).get(first..whole).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    fn masks(value: &str) -> Vec<String> {
        let secret = Secret::new(value);
        of([&secret].into_iter()).into_iter().map(|mask| String::from_utf8(mask).unwrap()).collect()
    }

    fn hides(value: &str, text: &str) -> bool {
        masks(value).iter().any(|mask| text.contains(mask.as_str()))
    }

    #[test]
    fn common_encodings_are_found() {
        let value = "p\"ss/w\\rd ü+?>~\tend";
        for text in [
            "export TOKEN=p\"ss/w\\rd ü+?>~\tend",
            r#"{"token": "p\"ss/w\\rd ü+?>~\tend"}"#,
            r#"{"token": "p\"ss\/w\\rd ü+?>~\tend"}"#,
            r#"{"token": "p\"ss/w\\rd \u00fc+?>~\tend"}"#,
            "?token=p%22ss%2Fw%5Crd%20%C3%BC%2B%3F%3E~%09end&",
            "?token=p%22ss%2fw%5crd%20%c3%bc%2b%3f%3e~%09end&",
            "?token=p%22ss%2Fw%5Crd+%C3%BC%2B%3F%3E~%09end&",
            "/token/p%22ss/w%5Crd%20%C3%BC%2B%3F%3E~%09end/",
            "7022 702273732f775c726420c3bc2b3f3e7e09656e64 0a",
            "7022 702273732F775C726420C3BC2B3F3E7E09656E64 0A",
        ] {
            assert!(hides(value, text), "{text}: {:#?}", masks(value));
        }
        assert!(!hides(value, "p\"ss/w\\rd and something else"));
    }

    #[test]
    fn base64_is_found_whatever_stands_around_it() {
        for value in ["12345678", "123456789", "1234567890", "subjects?>>>~~~ü"] {
            for before in ["", "u", "us", "usr", "user:"] {
                for after in ["", "\n", ":x", "long enough"] {
                    let text = format!("{before}{value}{after}");
                    assert!(hides(value, &STANDARD.encode(&text)), "{text}");
                    assert!(hides(value, &URL_SAFE.encode(&text)), "{text}");
                }
            }
        }
    }

    #[test]
    fn lines_are_found_alone_and_when_base64_is_wrapped() {
        let lines: Vec<_> = (0..9).map(|n| format!("line {n} of a private key")).collect();
        let value = lines.join("\r\n");
        for line in &lines {
            assert!(hides(&value, &format!("   {line}")));
        }
        let encoded = STANDARD.encode(format!("{value}\n"));
        for columns in COLUMNS {
            for line in encoded.as_bytes().chunks(columns).filter(|line| line.len() > 16) {
                assert!(hides(&value, std::str::from_utf8(line).unwrap()), "{columns}");
            }
        }
    }

    #[test]
    fn nothing_is_as_short_as_a_word() {
        let value = "  short\nlines\nonly\n  ";
        assert!(masks(value).iter().all(|mask| mask.len() >= 8), "{:?}", masks(value));
        assert!(!hides(value, "short lines only"));
    }

    /// PID 1 gets the masks in one frame together with the rest of the job.
    #[test]
    fn the_most_that_a_job_may_have_fits_into_a_frame() {
        use orchestra_sandbox::protocol::MAX_PAYLOAD;
        let value: String = (0_u32..)
            .map(|n| ["\u{1}", "ü", "/", "a\n"][(n * n % 7 % 4) as usize])
            .take(limits::SECRET_BYTES * 3 / 5)
            .collect();
        let secrets = [Secret::new(value.clone() + "x"), Secret::new(value)];
        let bytes: usize = of(secrets.iter()).iter().map(|mask| mask.len() + 8).sum();
        let rest = limits::COMMAND_BYTES + limits::STDIN_BYTES + 2 * limits::ENV_BYTES;
        assert!(bytes + rest < MAX_PAYLOAD, "{bytes}");
    }
}

//! Makes text harmless for a terminal and for the layout around it.

/// On one line: everything that could move the cursor, colour, or turn the
/// direction of writing is written out, line feeds included.
pub(crate) fn line(text: &str) -> String {
    escape(text, |_| false)
}

/// On as many lines as it has; tabs stay as well.
pub(crate) fn block(text: &str) -> String {
    escape(text, |c| matches!(c, '\n' | '\t'))
}

/// Like [`line`], and no longer than `limit` characters.
pub(crate) fn short(text: &str, limit: usize) -> String {
    let escaped = line(text);
    let mut ends = escaped.char_indices().skip(limit - 1).map(|(at, _)| at);
    match (ends.next(), ends.next()) {
        (Some(end), Some(_)) => format!("{}…", &escaped[..end]),
        _ => escaped,
    }
}

fn escape(text: &str, keep: fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) && !keep(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Control characters, line and paragraph separators, and the marks that turn
/// the direction of writing (Unicode technical report 36, section 2.5).
pub(crate) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        for (text, escaped) in [
            ("g++ Hello.cpp", "g++ Hello.cpp"),
            ("Grüße 🎻 \\", "Grüße 🎻 \\"),
            ("\x1b[2J", "\\u{1b}[2J"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\r\nb\tc\x07", "a\\r\\nb\\tc\\u{7}"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
        ] {
            assert_eq!(line(text), escaped);
        }
    }

    #[test]
    fn a_block_keeps_its_lines() {
        assert_eq!(block("a\n\tb\x1b]0;x\x07\r\n"), "a\n\tb\\u{1b}]0;x\\u{7}\\r\n");
    }

    #[test]
    fn what_is_long_is_cut_at_a_character() {
        assert_eq!(short("üüü", 3), "üüü");
        assert_eq!(short("üüüü", 3), "üü…");
        assert_eq!(short("\n\n\n\n", 4), "\\n\\…");
    }
}

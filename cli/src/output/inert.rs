//! A job's output on a terminal: colours stay, everything else that a terminal
//! would obey is written out, as in [`super::escape`]. What it could do otherwise:
//! set the clipboard or the title, ask for answers that are typed into the shell,
//! draw over what other programs said.

use super::escape;

/// Longer sequences than this are no colours.
const LONGEST: usize = 64;

/// One stream, in pieces as they come. What is cut by the end of a piece waits for
/// the next one.
#[derive(Debug, Default)]
pub(crate) struct Inert {
    held: Vec<u8>,
}

impl Inert {
    /// What of it can be shown now.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut shown = Vec::with_capacity(held.len());
        let mut rest = held.as_slice();
        while !rest.is_empty() {
            match Piece::first_of(rest) {
                Piece::Whole(length) => {
                    shown.extend_from_slice(&rest[..length]);
                    rest = &rest[length..];
                }
                Piece::Harmful(length, text) => {
                    shown.extend_from_slice(text.as_bytes());
                    rest = &rest[length..];
                }
                Piece::Cut => break,
            }
        }
        self.held = rest.to_vec();
        shown
    }

    /// What was held back, when nothing more comes.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        held.iter().flat_map(|byte| written_out(*byte).into_bytes()).collect()
    }
}

fn written_out(byte: u8) -> String {
    format!("\\x{byte:02x}")
}

/// The beginning of some bytes.
enum Piece {
    /// So many may pass.
    Whole(usize),
    /// So many are shown as this.
    Harmful(usize, String),
    /// More has to come before it can be told.
    Cut,
}

impl Piece {
    fn first_of(bytes: &[u8]) -> Self {
        if bytes[0] == 0x1b {
            return Self::sequence(bytes);
        }
        // A character has at most four bytes.
        let window = &bytes[..bytes.len().min(4)];
        let valid = match std::str::from_utf8(window) {
            Ok(text) => text,
            Err(error) if error.valid_up_to() > 0 => {
                std::str::from_utf8(&window[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(error) if error.error_len().is_none() && bytes.len() < 4 => return Self::Cut,
            Err(_) => return Self::Harmful(1, written_out(bytes[0])),
        };
        let Some(first) = valid.chars().next() else { return Self::Cut };
        let length = first.len_utf8();
        if escape::is_harmful(first) && !matches!(first, '\n' | '\r' | '\t') {
            return Self::Harmful(length, first.escape_default().to_string());
        }
        Self::Whole(length)
    }

    /// Colours and the like (`ESC [ ... m`), and what GCC and grep write after them to
    /// colour the rest of a line (`ESC [ K`).
    fn sequence(bytes: &[u8]) -> Self {
        let harmful = || Self::Harmful(1, '\x1b'.escape_default().to_string());
        match bytes.get(1) {
            None => return Self::Cut,
            Some(b'[') => {}
            Some(_) => return harmful(),
        }
        let parameters = &bytes[2..];
        let digits = |byte: &u8| matches!(byte, b'0'..=b'9' | b';' | b':');
        match parameters.iter().position(|byte| !digits(byte)) {
            Some(end) if matches!(parameters[end], b'm' | b'K') && end < LONGEST => {
                Self::Whole(end + 3)
            }
            None if parameters.len() < LONGEST => Self::Cut,
            _ => harmful(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut inert = Inert::default();
        let mut all: Vec<u8> = pieces.iter().flat_map(|piece| inert.take(piece)).collect();
        all.extend(inert.end());
        String::from_utf8(all).expect("text alone is shown")
    }

    const CORPUS: &[(&[u8], &str)] = &[
        (b"plain\n\tand\r\n", "plain\n\tand\r\n"),
        ("Grüße 🎻".as_bytes(), "Grüße 🎻"),
        (b"\x1b[1;31mred\x1b[0m\x1b[m\x1b[K", "\x1b[1;31mred\x1b[0m\x1b[m\x1b[K"),
        (b"\x1b[38:2::1:2:3mtrue", "\x1b[38:2::1:2:3mtrue"),
        (b"\x1b]52;c;cm0K\x07", "\\u{1b}]52;c;cm0K\\u{7}"),
        (b"\x1b]0;title\x1b\\", "\\u{1b}]0;title\\u{1b}\\"),
        (b"\x1b]8;;http://x\x07link", "\\u{1b}]8;;http://x\\u{7}link"),
        (b"\x1b[2J\x1b[H", "\\u{1b}[2J\\u{1b}[H"),
        (b"\x1b[6n\x1b[c\x1b[>c\x1b[?25l", "\\u{1b}[6n\\u{1b}[c\\u{1b}[>c\\u{1b}[?25l"),
        (b"\x1bP+q\x1b\\\x1bc", "\\u{1b}P+q\\u{1b}\\\\u{1b}c"),
        (b"\x1b\x1b[31m", "\\u{1b}\x1b[31m"),
        (b"\x9b31m", "\\x9b31m"),
        ("\u{9b}2J\u{90}".as_bytes(), "\\u{9b}2J\\u{90}"),
        ("\u{202e}exe.txt".as_bytes(), "\\u{202e}exe.txt"),
        (b"a\x08b\x07c\x7f\0", "a\\u{8}b\\u{7}c\\u{7f}\\u{0}"),
        (b"caf\xe9!", "caf\\xe9!"),
        (b"cut \xe2\x82", "cut \\xe2\\x82"),
        (b"cut \x1b[3", "cut \\x1b\\x5b\\x33"),
    ];

    #[test]
    fn a_terminal_is_told_nothing_but_colours() {
        for (bytes, text) in CORPUS {
            assert_eq!(shown(&[bytes]), *text);
        }
        let long = [b"\x1b[".to_vec(), vec![b'1'; 1000], b"m".to_vec()].concat();
        assert!(shown(&[&long]).starts_with("\\u{1b}[1"));
    }

    #[test]
    fn where_a_piece_ends_makes_no_difference() {
        for (bytes, text) in CORPUS {
            for at in 0..bytes.len() {
                assert_eq!(shown(&[&bytes[..at], &bytes[at..]]), *text, "cut at {at}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(shown(&single), *text);
        }
    }
}

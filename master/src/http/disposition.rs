//! `Content-Disposition: attachment` (RFC 6266): the name under which a browser saves a file. The
//! job chose that name, so its characters are escaped.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but `attr-char` of RFC 8187, section 3.2.1.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The header's value. For clients that do not support `filename*`, `filename` has `_` in place of
/// special characters.
pub(super) fn attachment(name: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%' | '/' | ';');
    let fallback: String =
        name.chars().map(|c| if plain(c) || c == ' ' { c } else { '_' }).collect();
    let encoded = utf8_percent_encode(name, ENCODED);
    format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_the_value() {
        for (name, fallback, encoded) in [
            ("a.tar.gz", "a.tar.gz", "a.tar.gz"),
            ("a b", "a b", "a%20b"),
            ("a\"; filename=\"b", "a__ filename=_b", "a%22%3B%20filename%3D%22b"),
            ("back\\slash", "back_slash", "back%5Cslash"),
            ("100%41", "100_41", "100%2541"),
            ("ä'*", "_'*", "%C3%A4%27%2A"),
            ("\u{202e}gpj.exe", "_gpj.exe", "%E2%80%AEgpj.exe"),
            ("a\r\nset-cookie: x", "a__set-cookie: x", "a%0D%0Aset-cookie%3A%20x"),
        ] {
            let due = format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{encoded}");
            assert_eq!(attachment(name), due);
        }
    }
}

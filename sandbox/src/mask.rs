//! Masks secrets in one stream of output, however the writes are cut. Pure.
//!
//! Every byte of every occurrence of a pattern is dropped and replaced by the mark; overlapping
//! occurrences share one mark. Bytes that could be the start of an occurrence are held back until
//! the next byte or the end of the stream decides. That is less than the longest pattern, and in
//! most output nothing. They are not released after a timeout, because a slow writer could then
//! reveal a secret in pieces.

use std::{collections::HashMap, rc::Rc};

/// Replaces a secret.
const MARK: &[u8] = b"***";

/// The shortest pattern; a shorter one would match ordinary words.
const HEAD: usize = 8;

/// The patterns to search for, indexed by their first bytes.
#[derive(Debug)]
pub(crate) struct Patterns {
    by_head: HashMap<[u8; HEAD], Vec<Vec<u8>>>,
    /// Which pairs of bytes start a pattern; this keeps nearly every byte away from the map.
    pairs: Vec<bool>,
}

enum Found {
    Nothing,
    /// The length of the occurrence that starts here.
    Occurrence(usize),
    /// The next bytes decide.
    Undecided,
}

impl Patterns {
    /// `None` if there is nothing to search for.
    pub(crate) fn of(patterns: Vec<Vec<u8>>) -> Option<Rc<Self>> {
        let mut all = Self { by_head: HashMap::new(), pairs: vec![false; 1 << 16] };
        for pattern in patterns {
            if let Some(head) = pattern.first_chunk() {
                all.pairs[pair(*head)] = true;
                all.by_head.entry(*head).or_default().push(pattern);
            }
        }
        (!all.by_head.is_empty()).then(|| Rc::new(all))
    }

    /// What starts at the first byte of `rest`; `last` means that the stream ends after it.
    fn find(&self, rest: &[u8], last: bool) -> Found {
        let Some(head) = rest.first_chunk() else {
            let begins = |head: &[u8; HEAD]| head.starts_with(rest);
            let undecided = !last && self.by_head.keys().any(begins);
            return if undecided { Found::Undecided } else { Found::Nothing };
        };
        if !self.pairs[pair(*head)] {
            return Found::Nothing;
        }
        let mut longest = 0;
        for pattern in self.by_head.get(head).into_iter().flatten() {
            if rest.starts_with(pattern) {
                longest = longest.max(pattern.len());
            } else if pattern.starts_with(rest) {
                if !last {
                    return Found::Undecided;
                }
                // The stream ends in the middle of a pattern: the part that is there is masked,
                // too.
                longest = longest.max(rest.len());
            }
        }
        if longest > 0 { Found::Occurrence(longest) } else { Found::Nothing }
    }
}

fn pair([first, second, ..]: [u8; HEAD]) -> usize {
    usize::from(u16::from_le_bytes([first, second]))
}

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Mask {
    patterns: Rc<Patterns>,
    /// Bytes that are not decided yet.
    held: Vec<u8>,
    /// How many of the first held bytes belong to an occurrence that started before them.
    covered: usize,
}

impl Mask {
    pub(crate) fn new(patterns: Rc<Patterns>) -> Self {
        Self { patterns, held: Vec::new(), covered: 0 }
    }

    /// Returns what can be shown after these bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        self.decide(false)
    }

    /// Returns the rest when the stream has ended.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.decide(true)
    }

    fn decide(&mut self, last: bool) -> Vec<u8> {
        let mut shown = Vec::with_capacity(self.held.len());
        let (mut at, mut covered) = (0, self.covered);
        while let Some(byte) = self.held.get(at) {
            match self.patterns.find(&self.held[at..], last) {
                Found::Nothing => {}
                Found::Undecided => break,
                Found::Occurrence(len) => {
                    if at >= covered {
                        shown.extend_from_slice(MARK);
                    }
                    covered = covered.max(at + len);
                }
            }
            if at >= covered {
                shown.push(*byte);
            }
            at += 1;
        }
        self.covered = covered.saturating_sub(at);
        self.held.drain(..at);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masks(patterns: &[&str]) -> Mask {
        let patterns = patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect();
        Mask::new(Patterns::of(patterns).expect("there are some"))
    }

    fn masked(patterns: &[&str], pieces: &[&str]) -> String {
        let mut mask = masks(patterns);
        let mut shown: Vec<u8> =
            pieces.iter().flat_map(|piece| mask.push(piece.as_bytes())).collect();
        shown.extend(mask.finish());
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn a_secret_is_masked_wherever_it_is_cut() {
        let text = "a=hunter2hunter2;";
        for cut in 0..=text.len() {
            let (first, second) = text.split_at(cut);
            assert_eq!(masked(&["hunter2hunter2"], &[first, second]), "a=***;", "{cut}");
        }
    }

    #[test]
    fn the_longest_is_masked_and_overlaps_are_one() {
        assert_eq!(masked(&["12345678", "1234567890"], &["x1234567890x"]), "x***x");
        assert_eq!(masked(&["12345678", "1234567890"], &["x123456789x"]), "x***9x");
        assert_eq!(masked(&["xxxxSHARED", "SHAREDyyyy"], &["<xxxxSHAREDyyyy>"]), "<***>");
        assert_eq!(masked(&["abababab"], &["<ababababab>"]), "<***>");
        assert_eq!(masked(&["12345678"], &["1234567812345678"]), "******");
    }

    #[test]
    fn only_what_may_begin_a_secret_waits() {
        let mut mask = masks(&["hunter2hunter2"]);
        assert_eq!(mask.push(b"h"), b"");
        assert_eq!(mask.push(b"allo\n$ "), b"hallo\n$ ");
        assert_eq!(mask.push(b"hunter2hunter"), b"");
        assert_eq!(mask.push(b"3"), b"hunter2hunter3");
    }

    #[test]
    fn a_beginning_shows_at_the_end_unless_it_is_long() {
        assert_eq!(masked(&["hunter2hunter2"], &["<hunter"]), "<hunter");
        assert_eq!(masked(&["hunter2hunter2"], &["<hunter2h"]), "<***");
    }

    #[test]
    fn what_is_too_short_is_not_looked_for() {
        assert!(Patterns::of(vec![]).is_none());
        assert!(Patterns::of(vec![b"1234567".to_vec()]).is_none());
    }

    /// The expected output, computed from the definition on the whole text.
    fn expected(patterns: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
        let longest_at = |at: usize| {
            let rest = &text[at..];
            let len = |pattern: &Vec<u8>| match rest {
                rest if rest.starts_with(pattern) => pattern.len(),
                rest if rest.len() >= HEAD && pattern.starts_with(rest) => rest.len(),
                _ => 0,
            };
            patterns.iter().map(len).max().unwrap_or(0)
        };
        let (mut shown, mut covered) = (Vec::new(), 0);
        for (at, byte) in text.iter().enumerate() {
            let len = longest_at(at);
            if len > 0 && at >= covered {
                shown.extend_from_slice(MARK);
            }
            covered = covered.max(if len > 0 { at + len } else { 0 });
            if at >= covered {
                shown.push(*byte);
            }
        }
        shown
    }

    proptest! {
        /// Two letters, so that patterns, their prefixes and overlaps occur everywhere.
        #[test]
        fn any_cut_of_any_text_shows_the_same(
            patterns in prop::collection::vec("[ab]{8,14}", 1..4),
            text in "[ab]{0,12}",
            from in prop::collection::vec((0_usize..4, "[abc]{0,3}"), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let patterns: Vec<_> = patterns.into_iter().map(String::into_bytes).collect();
            let mut text = text.into_bytes();
            for (pattern, between) in from {
                text.extend_from_slice(&patterns[pattern % patterns.len()]);
                text.extend_from_slice(between.as_bytes());
            }
            let whole = expected(&patterns, &text);
            for pattern in &patterns {
                prop_assert!(!whole.windows(pattern.len()).any(|bytes| bytes == pattern));
            }
            let all = Patterns::of(patterns.clone()).unwrap();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let each_byte: Vec<_> = (0..=text.len()).collect();
            for cuts in [cuts, each_byte] {
                let mut mask = Mask::new(all.clone());
                let mut shown = Vec::new();
                for cut in cuts.windows(2) {
                    shown.extend(mask.push(&text[cut[0]..cut[1]]));
                    prop_assert!(mask.held.len() < 14);
                }
                shown.extend(mask.finish());
                prop_assert_eq!(&shown, &whole);
            }
        }
    }
}

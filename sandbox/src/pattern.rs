//! Matches paths against patterns: `*` and `?` match characters of one name, `**` matches any
//! folders. A path is matched name by name from its start, so that no folder is searched in which
//! nothing can match.

/// The patterns, each split into its parts.
#[derive(Debug)]
pub(crate) struct Patterns(Vec<Vec<Part>>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// Any number of folders, including none.
    Folders,
    Name(Vec<u8>),
}

/// How far a path has matched each pattern that it can still match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place(Vec<(usize, usize)>);

impl Patterns {
    pub(crate) fn of(patterns: &[Vec<u8>]) -> Self {
        let part = |name: &[u8]| match name {
            b"**" => Part::Folders,
            name => Part::Name(name.to_vec()),
        };
        // `.`, `..` and empty names do not name anything in the working folder.
        let leads_out = |name: &[u8]| matches!(name, b"" | b"." | b"..");
        let parts = |pattern: &Vec<u8>| {
            let names = || pattern.split(|byte| *byte == b'/');
            if names().any(leads_out) { Vec::new() } else { names().map(part).collect() }
        };
        Self(patterns.iter().map(parts).collect())
    }

    /// The place of the working folder.
    pub(crate) fn start(&self) -> Place {
        let mut start = Place(Vec::new());
        for pattern in 0..self.0.len() {
            self.arrive(&mut start, pattern, 0);
        }
        start
    }

    /// Returns whether a file of this name matches at this place, and the place inside a folder of
    /// this name.
    pub(crate) fn step(&self, place: &Place, name: &[u8]) -> (bool, Place) {
        let (mut fits, mut inside) = (false, Place(Vec::new()));
        for &(pattern, at) in &place.0 {
            match &self.0[pattern][at] {
                Part::Folders => self.arrive(&mut inside, pattern, at),
                Part::Name(wanted) if name_fits(wanted, name) => {
                    fits |= at + 1 == self.0[pattern].len();
                    self.arrive(&mut inside, pattern, at + 1);
                }
                Part::Name(_) => {}
            }
        }
        (fits, inside)
    }

    /// The only names that can match here, if all of them are literal.
    pub(crate) fn names(&self, place: &Place) -> Option<Vec<&[u8]>> {
        let name = |&(pattern, at): &(usize, usize)| match &self.0[pattern][at] {
            Part::Name(name) if !name.iter().any(|byte| b"*?".contains(byte)) => Some(&name[..]),
            _ => None,
        };
        let mut names = place.0.iter().map(name).collect::<Option<Vec<_>>>()?;
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    /// `**` may match no folder at all, so the part after it also starts here.
    fn arrive(&self, place: &mut Place, pattern: usize, at: usize) {
        for at in at..self.0[pattern].len() {
            if !place.0.contains(&(pattern, at)) {
                place.0.push((pattern, at));
            }
            if self.0[pattern][at] != Part::Folders {
                return;
            }
        }
    }
}

impl Place {
    /// Whether nothing below this place can match.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Backtracks only to the last `*`: it can match whatever an earlier one could.
fn name_fits(mut wanted: &[u8], mut name: &[u8]) -> bool {
    let mut star = None;
    loop {
        match (wanted.split_first(), name.first()) {
            (None, None) => return true,
            (Some((b'*', rest)), _) => {
                star = Some((rest, name));
                wanted = rest;
                continue;
            }
            (Some((b'?', rest)), Some(_)) => {
                (wanted, name) = (rest, &name[character(name)..]);
                continue;
            }
            (Some((byte, rest)), Some(found)) if byte == found => {
                (wanted, name) = (rest, &name[1..]);
                continue;
            }
            _ => {}
        }
        let Some((after, from)) = star else { return false };
        if from.is_empty() {
            return false;
        }
        let from = &from[character(from)..];
        star = Some((after, from));
        (wanted, name) = (after, from);
    }
}

/// Length in bytes of the first character; each byte that is not UTF-8 counts as a character.
fn character(text: &[u8]) -> usize {
    let length = match text.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => 1,
    };
    let whole = text.get(..length).is_some_and(|bytes| std::str::from_utf8(bytes).is_ok());
    if whole { length } else { 1 }
}

#[cfg(test)]
mod tests {
    use globset::GlobBuilder;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn fits(pattern: &str, path: &str) -> bool {
        let patterns = Patterns::of(&[pattern.into()]);
        let mut place = patterns.start();
        let mut fits = false;
        for name in path.split('/') {
            (fits, place) = patterns.step(&place, name.as_bytes());
        }
        fits
    }

    #[test]
    fn stars_stay_within_a_name_and_two_stand_for_folders() {
        for (pattern, path) in [
            ("a", "a"),
            ("*", "a"),
            ("*", ".hidden"),
            ("*.log", "x.log"),
            ("build/*/x?", "build/any/xy"),
            ("**/a", "a"),
            ("**/a", "b/c/a"),
            ("a/**/b", "a/b"),
            ("a/**/b", "a/x/y/b"),
            ("**/x/**/b", "x/x/b"),
            ("a*b*c", "aXbYbZc"),
            ("?", "ä"),
            ("a?c", "a😀c"),
            ("[a]{b}\\", "[a]{b}\\"),
        ] {
            assert!(fits(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("a", "b"),
            ("*", "a/b"),
            ("*.log", "x/y.log"),
            ("a/*", "a"),
            ("a/**/b", "ab"),
            ("??", "ä"),
            ("*???", "😀"),
            ("a*b", "aXbY"),
            ("?", ""),
        ] {
            assert!(!fits(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn what_leads_out_fits_nothing() {
        for pattern in ["..", "../a", "a/../b", ".", "./a", "", "/a", "a//b", "a/"] {
            let patterns = Patterns::of(&[pattern.into()]);
            assert!(patterns.start().is_empty(), "{pattern}");
        }
    }

    #[test]
    fn names_that_are_said_are_the_only_ones_looked_for() {
        let patterns = Patterns::of(&["a/b".into(), "a/c".into(), "d".into()]);
        let start = patterns.start();
        assert_eq!(patterns.names(&start), Some(vec![&b"a"[..], b"d"]));
        let (_, inside) = patterns.step(&start, b"a");
        assert_eq!(patterns.names(&inside), Some(vec![&b"b"[..], b"c"]));
        assert!(patterns.step(&start, b"x").1.is_empty());
        for wide in ["*", "**/a", "a?"] {
            let patterns = Patterns::of(&["a".into(), wide.into()]);
            assert_eq!(patterns.names(&patterns.start()), None, "{wide}");
        }
    }

    /// Few letters, so that names and patterns often match.
    fn part() -> impl Strategy<Value = String> {
        let plain = |part: &String| !part.contains("**") && part != "." && part != "..";
        prop_oneof![
            3 => "[ab.*?]{1,4}".prop_filter("no part of its own meaning", plain),
            1 => Just("**".to_owned()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn it_means_what_others_mean(
            mut parts in vec(part(), 1..5),
            path in vec("[ab.]{1,4}", 1..5),
        ) {
            // A pattern must not end in `**`, which would match folders and not files.
            if parts.last().is_some_and(|last| last == "**") {
                parts.push("*".to_owned());
            }
            let (pattern, path) = (parts.join("/"), path.join("/"));
            let glob = GlobBuilder::new(&pattern).literal_separator(true).build().unwrap();
            let expected = glob.compile_matcher().is_match(&path);
            prop_assert_eq!(fits(&pattern, &path), expected, "{} {}", pattern, path);
        }
    }
}

//! What a job may name as its image: a folder under `images/`, or a reference to an image in a
//! registry. An operator's patterns decide which references are allowed.
//!
//! A single word is always a folder. A reference has a `/`, a `:` or a `@`. Omitted parts are
//! filled in as engines do it (`python:3.12` is `docker.io/library/python:3.12`), so every pattern
//! is unambiguous.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest reference; the name of a repository alone may have 255 bytes.
const REFERENCE_BYTES: usize = 400;
const PATTERN_BYTES: usize = 256;
const TAG_BYTES: usize = 128;

/// A registry image: a registry, a name, and a tag or digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    registry: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageReference {
    /// Whether the text is meant as a reference, valid or not, rather than as a folder.
    pub fn is_meant(image: &str) -> bool {
        image.contains(['/', ':', '@'])
    }

    /// The registry, like `ghcr.io` or `127.0.0.1:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, like `sha256:...`, if the image is pinned.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl FromStr for ImageReference {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "is neither the name of a folder under images/ (lower-case letters, \
             digits, '-' and '_', at most 64) nor a reference like docker.io/library/python:3.12";
        if text.len() > REFERENCE_BYTES || !Self::is_meant(text) {
            return Err(WRONG);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(WRONG),
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if !tag.is_none_or(is_tag) {
            return Err(WRONG);
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, path.to_owned())
            }
            Some(_) => ("docker.io", name.to_owned()),
            None => ("docker.io", format!("library/{name}")),
        };
        if !is_registry(registry) || !path.split('/').all(is_component) {
            return Err(WRONG);
        }
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { registry: registry.to_owned(), path, tag, digest })
    }
}

fn is_digest(text: &str) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.strip_prefix("sha256:").is_some_and(|rest| rest.len() == 64 && rest.chars().all(hex))
}

fn is_tag(text: &str) -> bool {
    (1..=TAG_BYTES).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "1"));
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    port.parse::<u16>().is_ok()
        && !host.is_empty()
        && !host.starts_with(['.', '-'])
        && host.chars().all(word)
}

/// Whether the text is a path component: lower-case words, joined by `.`, `_`, `__` or any number
/// of `-`.
fn is_component(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(word)
        && text.ends_with(word)
        && text.chars().all(|c| word(c) || matches!(c, '.' | '_' | '-'))
        && !text.contains("..")
        && !text.contains("___")
}

/// The references that an operator allows: `*` matches any part of one component, `**` any number
/// of components. A pattern without a tag matches all tags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImagePattern(String);

impl ImagePattern {
    pub fn allows(&self, reference: &ImageReference) -> bool {
        let name = reference.name();
        // A colon after the last slash belongs to a tag.
        let wants_tag = self.0.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        if !wants_tag {
            return matches(self.0.as_bytes(), name.as_bytes());
        }
        let tagged = reference.tag().map(|tag| format!("{name}:{tag}"));
        let pinned = reference.digest().map(|digest| format!("{name}@{digest}"));
        // The engine pulls by digest, so a tag next to a digest does not count.
        let text = pinned.or(tagged).unwrap_or(name);
        matches(self.0.as_bytes(), text.as_bytes())
    }
}

/// A star that was reached: the place behind it in the pattern, and how much of the text it has
/// matched.
type Star = Option<(usize, usize)>;

/// Takes at most time in proportion to the product of both lengths, because the text is untrusted:
/// each star forgets the one before.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // The last `**` and the last `*`.
    let (mut wide, mut narrow): (Star, Star) = (None, None);
    loop {
        if pattern[at..].starts_with(b"**") {
            at += 2;
            (wide, narrow) = (Some((at, from)), None);
        } else if pattern.get(at) == Some(&b'*') {
            at += 1;
            narrow = Some((at, from));
        } else if at < pattern.len() && pattern.get(at) == text.get(from) {
            (at, from) = (at + 1, from + 1);
        } else if at == pattern.len() && from == text.len() {
            return true;
        } else if let Some((after, reach)) = narrow
            && text.get(reach).is_some_and(|c| *c != b'/')
        {
            (at, from) = (after, reach + 1);
            narrow = Some((after, reach + 1));
        } else if let Some((after, reach)) = wide
            && reach < text.len()
        {
            (at, from) = (after, reach + 1);
            (wide, narrow) = (Some((after, reach + 1)), None);
        } else {
            return false;
        }
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ImagePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = |c: char| {
            c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '*')
        };
        if text.len() <= PATTERN_BYTES && text.contains('/') && text.chars().all(known) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is no pattern of images: it names a registry, like docker.io/library/* or ghcr.io/me/**"
        ))
    }
}

impl Serialize for ImagePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ImagePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> Option<String> {
        text.parse::<ImageReference>().ok().map(|reference| reference.to_string())
    }

    #[test]
    fn what_is_left_out_is_filled_in_as_engines_do() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, expected) in [
            ("python:3.12", "docker.io/library/python:3.12".to_owned()),
            ("me/tool", "docker.io/me/tool:latest".to_owned()),
            ("docker.io/library/debian", "docker.io/library/debian:latest".to_owned()),
            ("ghcr.io/a/b-c/d_e:v1.2", "ghcr.io/a/b-c/d_e:v1.2".to_owned()),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest".to_owned()),
            ("localhost/x:1", "localhost/x:1".to_owned()),
            (&format!("ghcr.io/a@{digest}"), format!("ghcr.io/a@{digest}")),
            (&format!("ghcr.io/a:1@{digest}"), format!("ghcr.io/a:1@{digest}")),
        ] {
            assert_eq!(full(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let long = format!("a/{}", "x".repeat(400));
        for text in [
            "gcc",
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "../etc:1",
            "a/../b",
            "A/b",
            "a b/c",
            "a:",
            "a:b:c",
            "a:-x",
            "a@sha256:00",
            "a/b@",
            "ghcr.io:port/x",
            "-x.io/a",
            "a/b\n",
            &long,
        ] {
            assert_eq!(full(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_pattern_lets_in_what_it_says_and_nothing_beside_it() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let pinned = format!("ghcr.io/me/a@{digest}");
        let retagged = format!("ghcr.io/me/a:good@{digest}");
        for (pattern, text, allowed) in [
            ("docker.io/library/*", "python:3.12", true),
            ("docker.io/library/*", "me/python:3.12", false),
            ("docker.io/library/python", "python:3.12", true),
            ("docker.io/library/python", "pythons:3.12", false),
            ("docker.io/library/python:3.*", "python:3.12", true),
            ("docker.io/library/python:3.*", "python:2.7", false),
            ("docker.io/library/python:3.*", "docker.io/library/python", false),
            ("ghcr.io/me/*", "ghcr.io/me/a:1", true),
            ("ghcr.io/me/*", "ghcr.io/me/a/b:1", false),
            ("ghcr.io/me/**", "ghcr.io/me/a/b:1", true),
            ("ghcr.io/me/**", "ghcr.io/you/me/a:1", false),
            ("*.example.com/a", "x.example.com/a:1", true),
            ("*.example.com/a", "evil.com/x.example.com/a:1", false),
            ("127.0.0.1:5000/*", "127.0.0.1:5000/a:1", true),
            ("127.0.0.1:5000/*", "127.0.0.1:5001/a:1", false),
            ("**/a*b*c", "ghcr.io/x/a1b2b3c:1", true),
            ("**/a*b*c", "ghcr.io/x/a1c2c:1", false),
            ("ghcr.io/me/a", &pinned, true),
            // The digest decides what is pulled, so the tag beside it allows nothing.
            ("ghcr.io/me/a:good", &retagged, false),
            ("ghcr.io/me/a@sha256:0a*", &retagged, true),
        ] {
            let rule: ImagePattern = pattern.parse().unwrap();
            assert_eq!(rule.allows(&text.parse().unwrap()), allowed, "{pattern} {text}");
        }
        assert!("*".parse::<ImagePattern>().is_err() && "python".parse::<ImagePattern>().is_err());
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        let rule: ImagePattern = format!("a.io/{}c", "*a".repeat(100)).parse().unwrap();
        let text = format!("a.io/{}", "a".repeat(350));
        assert!(!rule.allows(&text.parse().unwrap()));
    }
}

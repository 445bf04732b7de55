//! The assets of the pages, compiled into the program. Their URLs contain a hash of them all, so
//! browsers may cache them forever, and modules import each other by their plain names.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse, Response},
};
use orchestra_contracts::ProblemKind;
use sha2::{Digest, Sha256};

use crate::http::{error::ApiError, extract::NoQuery};

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const FOR_EVER: &str = "public, max-age=31536000, immutable";

macro_rules! files {
    ($($name:literal: $kind:ident),+ $(,)?) => {
        /// Name, media type, content.
        const FILES: &[(&str, &str, &str)] =
            &[$(($name, $kind, include_str!(concat!("assets/", $name)))),+];
    };
}

files! {
    "style.css": STYLE,
    "log.css": STYLE,
    "icon.svg": IMAGE,
    "page.js": SCRIPT,
    "send.js": SCRIPT,
    "live.js": SCRIPT,
    "time.js": SCRIPT,
    "log.js": SCRIPT,
    "lines.js": SCRIPT,
    "events.js": SCRIPT,
    "ansi.js": SCRIPT,
    "search.js": SCRIPT,
    "new.js": SCRIPT,
    "choose.js": SCRIPT,
    "twin.js": SCRIPT,
}

/// A hash of all files.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (name, _, content) in FILES {
        hash.update(name);
        hash.update(content);
    }
    hex::encode(&hash.finalize()[..8])
});

/// The URL of a file.
pub(super) fn address(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

pub(super) async fn handler(
    Path((version, name)): Path<(String, String)>,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let file = FILES.iter().find(|(known, ..)| *known == name && version == *VERSION);
    let Some((_, kind, content)) = file else {
        // Perhaps a page of another version asks, whose files are gone.
        let error = ApiError::new(ProblemKind::NotFound, "there is no such file in this version");
        return Err(error.hint("load the page again"));
    };
    let headers = [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, FOR_EVER)];
    Ok((headers, *content).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_import_only_files_that_are_there() {
        let mut imports = 0;
        for (name, kind, content) in FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
            for rest in content.split(" from './").skip(1) {
                let wanted = rest.split('\'').next().unwrap_or_default();
                assert!(FILES.iter().any(|it| it.0 == wanted && it.1 == *kind), "{name}: {wanted}");
                imports += 1;
            }
        }
        assert!(imports > 5, "{imports}");
    }

    /// Text that a job wrote stays text, and never becomes markup or code.
    #[test]
    fn no_script_makes_markup_or_code_of_text() {
        let words = [
            "innerHTML",
            "outerHTML =",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
        ];
        for (name, _, content) in FILES {
            for word in words {
                assert!(!content.contains(word), "{name} has {word}");
            }
            assert!(!content.contains("http://") || *name == "icon.svg", "{name} names an address");
            assert!(!content.contains("https://"), "{name} names an address");
        }
    }
}

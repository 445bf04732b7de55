//! Jobs from a file: one or many, as YAML, as JSON, or one a line.

use std::path::Path;

use orchestra_contracts::{JobSpec, Specs};

use crate::{args, failure::Failure};

/// As much as the master takes in one call.
const BYTES: usize = 16 << 20;

/// All jobs of a file, `-` being standard input; what it is written in is told by its name, else
/// by how it begins.
pub(crate) fn read(path: &Path) -> Result<Vec<JobSpec>, Failure> {
    let text = args::read(path, BYTES)?;
    let kind = Kind::of(path, &text);
    let refuse =
        |why| Failure::said(format!("the jobs in {} cannot be read: {why}", path.display()));
    let specs = kind.parse(&text).map_err(refuse)?;
    if specs.is_empty() { Err(refuse("there is none".to_owned())) } else { Ok(specs) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Lines,
    Yaml,
}

impl Kind {
    fn of(path: &Path, text: &str) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Self::Json,
            Some("ndjson" | "jsonl") => Self::Lines,
            Some("yaml" | "yml") => Self::Yaml,
            _ if text.trim_start().starts_with('[') => Self::Json,
            _ if text.trim_start().starts_with('{') => {
                let first = text.trim_start().lines().next().unwrap_or_default();
                let is_whole = serde_json::from_str::<serde_json::Value>(first).is_ok();
                if is_whole && text.trim().lines().count() > 1 { Self::Lines } else { Self::Json }
            }
            _ => Self::Yaml,
        }
    }

    fn parse(self, text: &str) -> Result<Vec<JobSpec>, String> {
        match self {
            Self::Json => serde_json::from_str(text).map(listed).map_err(|error| error.to_string()),
            Self::Lines => {
                let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
                let parse = |(number, line): (usize, &str)| {
                    serde_json::from_str(line)
                        .map_err(|error| format!("line {}: {error}", number + 1))
                };
                lines.map(parse).collect()
            }
            // Several documents in one file are as good as a list.
            Self::Yaml => {
                let documents = serde_saphyr::from_multiple::<Specs>(text);
                let documents = documents.map_err(|error| error.to_string())?;
                Ok(documents.into_iter().flat_map(listed).collect())
            }
        }
    }
}

fn listed(specs: Specs) -> Vec<JobSpec> {
    match specs {
        Specs::One(spec) => vec![*spec],
        Specs::Many(specs) => specs,
    }
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::{JobRef, Size, Span};

    use super::*;

    fn parsed(name: &str, text: &str) -> Result<Vec<JobSpec>, String> {
        Kind::of(Path::new(name), text).parse(text)
    }

    fn commands(name: &str, text: &str) -> Vec<String> {
        parsed(name, text).unwrap().into_iter().map(|spec| spec.command).collect()
    }

    #[test]
    fn one_or_many_in_each_way_of_writing() {
        let (one, two) = (r#"{"command": "a"}"#, r#"{"command": "b"}"#);
        assert_eq!(commands("-", one), ["a"]);
        assert_eq!(commands("x.json", &format!("[{one}, {two}]")), ["a", "b"]);
        assert_eq!(commands("-", &format!("[{one}, {two}]")), ["a", "b"]);
        assert_eq!(commands("-", "{\n  \"command\": \"a\"\n}\n"), ["a"]);
        assert_eq!(commands("-", &format!("{one}\n\n{two}\n")), ["a", "b"]);
        assert_eq!(commands("x.ndjson", one), ["a"]);
        assert_eq!(commands("-", "command: a"), ["a"]);
        assert_eq!(commands("x.yml", "- command: a\n- command: b\n"), ["a", "b"]);
        assert_eq!(commands("x.yaml", "command: a\n---\ncommand: b\n"), ["a", "b"]);
    }

    #[test]
    fn yaml_says_all_that_json_does() {
        let text = "\
# a comment
name: build
command: |
  g++ Hello.cpp -o Hello
  ./Hello
timeout: 10m
maxRetries: 2
env: {MODE: fast, LEVEL: '3'}
resources:
  memory: 1g
  cpus: 0.5
after: [7, test]
array: 1-10%2
";
        let spec = parsed("job.yaml", text).unwrap().remove(0);
        assert_eq!(spec.command, "g++ Hello.cpp -o Hello\n./Hello\n");
        assert_eq!((spec.timeout, spec.max_retries), (Some(Span::from_secs(600)), 2));
        assert_eq!(
            (spec.resources.memory, spec.resources.cpus),
            (Some(Size::mib(1024)), Some(0.5))
        );
        assert_eq!(spec.env["LEVEL"], "3");
        assert_eq!(
            spec.after,
            [JobRef::Id(orchestra_contracts::JobId(7)), JobRef::Name("test".into())]
        );
        assert_eq!(spec.array.unwrap().to_string(), "1-10%2");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (name, text, said) in [
            ("x.yaml", "command: a\ntimeOut: 1s\n", "timeOut"),
            ("x.yaml", "command: [a", ""),
            ("x.yaml", "- [a]\n", ""),
            ("x.ndjson", "{\"command\": \"a\"}\n{}\n", "line 2"),
            ("x.json", "{\"command\": 1}", "line 1"),
        ] {
            let error = parsed(name, text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}

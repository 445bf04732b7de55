//! Files of this machine that go along with a job.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path},
};

use orchestra_contracts::{JobFile, limits};

use crate::failure::Failure;

/// Reads them, each named as PATH or PATH:TARGET.
pub(crate) fn all(files: &[String]) -> Result<Vec<JobFile>, Failure> {
    files.iter().map(|named| one(named)).collect()
}

fn one(named: &str) -> Result<JobFile, Failure> {
    let (path, target) = parted(named);
    let refuse = |why: &dyn std::fmt::Display| {
        Failure::said(format!("{path} cannot go along with the job: {why}"))
    };
    let Some(target) = target else {
        return Err(refuse(&"write PATH:TARGET, with its path in the job's folder"));
    };
    let mut bytes = Vec::new();
    let read = |bytes: &mut Vec<u8>| {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        file.take(limits::FILES_BYTES as u64 + 1).read_to_end(bytes)?;
        std::io::Result::Ok(mode & 0o111 != 0)
    };
    let executable = read(&mut bytes).map_err(|error| refuse(&error))?;
    if bytes.len() > limits::FILES_BYTES {
        let most = limits::FILES_BYTES;
        return Err(refuse(&format!("it has more than {most} bytes; put it into worker-files")));
    }
    let file = match String::from_utf8(bytes) {
        Ok(text) => JobFile::of_text(target, text),
        Err(error) => JobFile::of_bytes(target, error.as_bytes()),
    };
    Ok(JobFile { executable, ..file })
}

/// The file, and where the job has it: at the same place below its folder, or where that is none,
/// under its name.
fn parted(named: &str) -> (&str, Option<String>) {
    if let Some((path, target)) = named.rsplit_once(':')
        && !Path::new(named).exists()
    {
        return (path, Some(target.to_owned()));
    }
    let path = Path::new(named);
    let below =
        path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let target = if below {
        let parts = path.components().filter(|part| *part != Component::CurDir);
        parts.collect::<std::path::PathBuf>().to_str().map(str::to_owned)
    } else {
        path.file_name().and_then(|name| name.to_str()).map(str::to_owned)
    };
    (named, target.filter(|target| !target.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_has_its_place_in_the_jobs_folder() {
        for (named, path, target) in [
            ("main.py", "main.py", Some("main.py")),
            ("./data/in.csv", "./data/in.csv", Some("data/in.csv")),
            ("../x", "../x", Some("x")),
            ("/etc/hosts", "/etc/hosts", Some("hosts")),
            ("a:b/c", "a", Some("b/c")),
            ("a:b:c", "a:b", Some("c")),
            ("..", "..", None),
            (".", ".", None),
        ] {
            assert_eq!(parted(named), (path, target.map(str::to_owned)), "{named}");
        }
    }

    #[test]
    fn it_is_read_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (text, binary) = (put("a:b", b"text\n"), put("x", &[0, 255]));
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let read = all(&[text, format!("{binary}:bin/x")]).unwrap();
        let tool = JobFile { executable: true, ..JobFile::of_bytes("bin/x", &[0, 255]) };
        assert_eq!(read, [JobFile::of_text("a:b", "text\n"), tool]);
        let missing = all(&["no/such:x".to_owned()]).unwrap_err().to_string();
        assert!(missing.starts_with("no/such cannot go along with the job: "), "{missing}");
        let large = put("large", &vec![0; limits::FILES_BYTES + 1]);
        assert!(all(&[large]).unwrap_err().to_string().contains("put it into worker-files"));
    }
}

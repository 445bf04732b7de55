//! Files of this machine that go along with a job: in its spec as long as there is room, and
//! from then on by their names, as uploads.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path},
};

use orchestra_contracts::{ContentHash, JobFile, limits};
use sha2::{Digest as _, Sha256};

use crate::{
    failure::Failure,
    uploads::{LocalFile, Uploads},
};

/// So much of a large file is in memory.
const CHUNK: usize = 64 << 10;

/// Reads them, each named as PATH or PATH:TARGET; what does not fit into the spec has to be
/// brought before it is submitted.
pub(crate) fn all(files: &[String]) -> Result<(Vec<JobFile>, Uploads), Failure> {
    let (mut all, mut uploads, mut room) = (Vec::new(), Uploads::default(), limits::FILES_BYTES);
    for named in files {
        all.push(one(named, &mut room, &mut uploads)?);
    }
    Ok((all, uploads))
}

/// `room` for what is in the spec becomes less.
fn one(named: &str, room: &mut usize, uploads: &mut Uploads) -> Result<JobFile, Failure> {
    let (path, target) = parted(named);
    let refuse = |why: &dyn std::fmt::Display| {
        Failure::said(format!("{path} cannot go along with the job: {why}"))
    };
    let Some(target) = target else {
        return Err(refuse(&"write PATH:TARGET, with its path in the job's folder"));
    };
    let (executable, content) = read(path, *room).map_err(|error| refuse(&error))?;
    let file = match content {
        Content::Inline(bytes) => {
            *room -= bytes.len();
            match String::from_utf8(bytes) {
                Ok(text) => JobFile::of_text(target, text),
                Err(error) => JobFile::of_bytes(target, error.as_bytes()),
            }
        }
        Content::Large(sha256, bytes) => {
            let path = path.into();
            uploads.0.push(LocalFile { path, sha256: sha256.clone(), bytes });
            JobFile::of_upload(target, sha256)
        }
    };
    Ok(JobFile { executable, ..file })
}

enum Content {
    Inline(Vec<u8>),
    /// Longer than that; its hash, and how long it is.
    Large(ContentHash, u64),
}

/// Whether it is executable, and what is in it.
fn read(path: &str, room: usize) -> io::Result<(bool, Content)> {
    let mut file = File::open(path)?;
    let executable = file.metadata()?.permissions().mode() & 0o111 != 0;
    let mut begin = Vec::new();
    (&mut file).take(room as u64 + 1).read_to_end(&mut begin)?;
    if begin.len() <= room {
        return Ok((executable, Content::Inline(begin)));
    }
    let mut hash = Sha256::new_with_prefix(&begin);
    let mut bytes = begin.len() as u64;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
        bytes += read as u64;
    }
    let hash = hex::encode(hash.finalize()).parse().map_err(io::Error::other)?;
    Ok((executable, Content::Large(hash, bytes)))
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
        let (read, uploads) = all(&[text, format!("{binary}:bin/x")]).unwrap();
        assert_eq!(uploads.0, []);
        let tool = JobFile { executable: true, ..JobFile::of_bytes("bin/x", &[0, 255]) };
        assert_eq!(read, [JobFile::of_text("a:b", "text\n"), tool]);
        let missing = all(&["no/such:x".to_owned()]).unwrap_err().to_string();
        assert!(missing.starts_with("no/such cannot go along with the job: "), "{missing}");
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, length: usize| {
            let path = folder.path().join(name);
            fs::write(&path, vec![b'x'; length]).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let half = limits::FILES_BYTES / 2;
        let named = [put("a", half), put("b", half + 1), put("c", half), put("d", 1)];
        let (read, uploads) = all(&named).unwrap();
        let hash: ContentHash = hex::encode(Sha256::digest(vec![b'x'; half + 1])).parse().unwrap();
        let inline: Vec<bool> = read.iter().map(|file| file.text.is_some()).collect();
        assert_eq!(inline, [true, false, true, false]);
        assert_eq!(read[1].upload.as_ref(), Some(&hash));
        assert_eq!((uploads.0[0].bytes, &uploads.0[0].sha256), (half as u64 + 1, &hash));
        assert_eq!(uploads.0.len(), 2);
    }
}

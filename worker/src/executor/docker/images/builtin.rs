//! The images that come with the program, for a worker without an images folder. A program that was
//! copied to another machine runs its first job there just as in a clone.

use super::recipe::{DOCKERFILE, Entry, Kind};

/// The folders of Orchestra's own `images/`. Each contains only a Dockerfile.
const ALL: [(&str, &str); 3] = [
    ("gcc", include_str!("../../../../../images/gcc/Dockerfile")),
    ("node", include_str!("../../../../../images/node/Dockerfile")),
    ("python", include_str!("../../../../../images/python/Dockerfile")),
];

/// The names of the built-in images, sorted.
pub(super) fn names() -> Vec<String> {
    ALL.iter().map(|&(name, _)| name.to_owned()).collect()
}

/// The content of the folder with that name. The image has the same reference as if it were built
/// from that folder.
pub(super) fn entries(name: &str) -> Option<Vec<Entry>> {
    let (_, dockerfile) = ALL.iter().find(|&&(own, _)| own == name)?;
    let kind = Kind::File { executable: false, bytes: dockerfile.as_bytes().to_vec() };
    Some(vec![Entry { path: DOCKERFILE.into(), kind }])
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::executor::docker::images::walk;

    #[test]
    fn they_are_the_folders_of_the_repository() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
        let found = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
        let mut found: Vec<_> = found
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(found, names());
        for name in found {
            assert_eq!(entries(&name).unwrap(), walk::entries(&folder.join(&name)).unwrap());
        }
    }
}

//! The folders under `images/`: which of them are images, and the present content of one. Only
//! reads. Without an images folder, the built-in images take its place.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    ImageError, builtin,
    recipe::{DOCKERFILE, Recipe},
    walk,
};

#[derive(Clone, Debug)]
pub(super) struct Catalog {
    folder: PathBuf,
}

impl Catalog {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the image with that name, whether or not it exists.
    pub(super) fn home(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The names of all images, sorted.
    pub(super) async fn names(&self) -> Result<Vec<String>, ImageError> {
        let folder = self.folder.clone();
        blocking(move || list(&folder)).await
    }

    /// The present content of one image's folder.
    pub(super) async fn read(&self, name: &str) -> Result<Recipe, ImageError> {
        let (folder, home, name) = (self.folder.clone(), self.home(name), name.to_owned());
        blocking(move || {
            if !folder.exists()
                && let Some(entries) = builtin::entries(&name)
            {
                return Ok(Recipe::new(name, entries));
            }
            if !is_name(&name) || !is_image(&home) {
                return Err(ImageError::Unknown { name, known: list(&folder)? });
            }
            match walk::entries(&home) {
                Ok(entries) => Ok(Recipe::new(name, entries)),
                Err(err) => {
                    let shown = home.display();
                    Err(ImageError::because(format!("the image folder {shown} is no use: {err}")))
                }
            }
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|err| Err(ImageError::because(format!("could not read images: {err}"))))
}

fn list(folder: &Path) -> Result<Vec<String>, ImageError> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if is_name(&name) && is_image(&entry.path()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    };
    match read() {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(builtin::names()),
        Err(err) => {
            let shown = folder.display();
            Err(ImageError::because(format!("the images folder {shown} cannot be read: {err}")))
        }
        read => Ok(read.unwrap_or_default()),
    }
}

/// Whether it is valid both as a folder name and as part of an image reference: lower-case letters
/// and digits, joined by single `-` or `_`.
fn is_name(name: &str) -> bool {
    let is_word =
        |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= 64 && name.split(['-', '_']).all(is_word)
}

fn is_image(home: &Path) -> bool {
    let is = |path: &Path, kind: fn(&fs::Metadata) -> bool| {
        fs::symlink_metadata(path).is_ok_and(|meta| kind(&meta))
    };
    is(home, fs::Metadata::is_dir) && is(&home.join(DOCKERFILE), fs::Metadata::is_file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn with_image(dockerfile: &str) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("tiny");
        fs::create_dir(&home).unwrap();
        fs::write(home.join(DOCKERFILE), dockerfile).unwrap();
        (root, home)
    }

    async fn reference(root: &tempfile::TempDir) -> String {
        Catalog::new(root.path().to_owned()).read("tiny").await.unwrap().reference()
    }

    #[tokio::test]
    async fn the_reference_changes_with_content_name_and_mode_and_with_nothing_else() {
        let (root, home) = with_image("FROM scratch");
        let first = reference(&root).await;
        let (name, hash) = first.split_once(':').unwrap();
        assert_eq!(name, "orchestra/tiny");
        assert!(hash.len() == 12 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{hash}");

        let file = home.join("a");
        fs::write(&file, "1").unwrap();
        let added = reference(&root).await;
        fs::write(&file, "2").unwrap();
        let edited = reference(&root).await;
        fs::rename(&file, home.join("b")).unwrap();
        let renamed = reference(&root).await;
        fs::set_permissions(home.join("b"), fs::Permissions::from_mode(0o700)).unwrap();
        let executable = reference(&root).await;
        let all = [&first, &added, &edited, &renamed, &executable];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one), "{i}: {all:?}");
        }

        // Another umask or a later checkout is no edit.
        fs::set_permissions(home.join("b"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(home.join("b"), "2").unwrap();
        assert_eq!(reference(&root).await, executable);
    }

    #[tokio::test]
    async fn links_are_kept_and_not_followed() {
        let (root, home) = with_image("FROM scratch");
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "1").unwrap();
        symlink(outside.path(), home.join("folder")).unwrap();
        symlink(outside.path().join("secret"), home.join("file")).unwrap();
        let before = reference(&root).await;
        fs::write(outside.path().join("secret"), "2").unwrap();
        assert_eq!(reference(&root).await, before);
        fs::remove_file(home.join("file")).unwrap();
        symlink("elsewhere", home.join("file")).unwrap();
        assert_ne!(reference(&root).await, before);
    }

    #[tokio::test]
    async fn what_is_no_image_is_unknown_and_the_known_ones_are_named() {
        let (root, home) = with_image("FROM scratch");
        fs::create_dir(root.path().join("empty")).unwrap();
        fs::create_dir(root.path().join("Upper")).unwrap();
        fs::write(root.path().join("Upper").join(DOCKERFILE), "FROM scratch").unwrap();
        symlink(&home, root.path().join("linked")).unwrap();
        let catalog = Catalog::new(root.path().to_owned());
        for name in ["empty", "Upper", "linked", "absent", "", ".", "../tiny", "a--b", "tiny/"] {
            let err = catalog.read(name).await.unwrap_err();
            assert_eq!(
                err,
                ImageError::Unknown { name: name.to_owned(), known: vec!["tiny".to_owned()] }
            );
        }
        let err = catalog.read("absent").await.unwrap_err();
        assert_eq!(err.to_string(), "there is no job image \"absent\"; there are: tiny");
    }

    #[tokio::test]
    async fn without_a_folder_there_are_those_of_the_program() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("images");
        let catalog = Catalog::new(folder.clone());
        assert_eq!(catalog.names().await.unwrap(), ["gcc", "node", "python"]);
        assert!(catalog.read("gcc").await.unwrap().needs_base());
        let err = catalog.read("absent").await.unwrap_err();
        assert!(err.to_string().ends_with("there are: gcc, node, python"), "{err}");
        fs::create_dir(&folder).unwrap();
        assert_eq!(catalog.names().await.unwrap(), Vec::<String>::new());
        assert!(catalog.read("gcc").await.is_err(), "whoever has a folder decides what is in it");
    }

    #[tokio::test]
    async fn a_folder_too_large_is_refused() {
        let (root, home) = with_image("FROM scratch");
        let file = fs::File::create(home.join("big")).unwrap();
        file.set_len(walk::MAX_BYTES).unwrap();
        let err = Catalog::new(root.path().to_owned()).read("tiny").await.unwrap_err();
        assert!(err.to_string().ends_with("it is larger than 32 MiB"), "{err}");
    }
}

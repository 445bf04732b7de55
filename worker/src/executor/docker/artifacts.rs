//! A job's changes to its working folder, as its PID 1 reports them, and the job's artifacts, read
//! from its container, which has ended and still exists.
//!
//! PID 1 finds the artifacts and the engine reads them, both inside the container. Nothing on this
//! machine walks a folder that jobs write to.

use std::{mem, sync::Arc};

use async_trait::async_trait;
use orchestra_contracts::files::{Changes, is_path};
use orchestra_sandbox::protocol::{self, MAX_PATH};

use super::{archive, container::Container, create::WORKDIR};
use crate::{
    config::JobUser,
    executor::artifacts::{ArtifactFile, ArtifactSource, ReadError},
};

/// A sandbox's report on the working folder.
#[derive(Debug, Default)]
pub(super) struct FolderReport {
    pub(super) changes: Option<protocol::Changes>,
    pub(super) artifacts: Option<protocol::Artifacts>,
}

impl FolderReport {
    pub(super) fn changes(&mut self) -> Option<Box<Changes>> {
        let changes = self.changes.take()?;
        let texts = |paths: Vec<Vec<u8>>| paths.into_iter().map(|path| text(&path)).collect();
        Some(Box::new(Changes {
            created: texts(changes.created),
            modified: texts(changes.modified),
            deleted: texts(changes.deleted),
            more: changes.more,
            incomplete: changes.incomplete,
        }))
    }

    pub(super) fn artifacts(
        &mut self,
        container: Arc<Container>,
        reader: JobUser,
    ) -> Option<Box<dyn ArtifactSource>> {
        let mut found = self.artifacts.take()?;
        let (mut paths, mut left_out) = (Vec::new(), Vec::new());
        for file in mem::take(&mut found.files) {
            match String::from_utf8(file.path) {
                Ok(path) if is_path(&path) => paths.push(path),
                Ok(path) => left_out.push(format!("{path:?} is no path that can be asked for")),
                Err(error) => {
                    let name = error.as_bytes().escape_ascii();
                    left_out.push(format!("\"{name}\" is not UTF-8"));
                }
            }
        }
        if found.more > 0 {
            left_out.push(format!("{} more files, for they are too many", found.more));
        }
        if found.unread > 0 {
            left_out.push(format!("{} files, for the job's user cannot read them", found.unread));
        }
        if found.incomplete {
            left_out
                .push("what may be in folders that there was no time or right to search".into());
        }
        Some(Box::new(Files { container, reader, paths, left_out }))
    }
}

/// Replaces bytes that are not UTF-8, which can make the text longer.
fn text(path: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(path).into_owned();
    text.truncate(text.floor_char_boundary(MAX_PATH));
    text
}

/// Files in an ended container.
struct Files {
    container: Arc<Container>,
    /// The job's user, who must be able to read them.
    reader: JobUser,
    paths: Vec<String>,
    left_out: Vec<String>,
}

#[async_trait]
impl ArtifactSource for Files {
    fn paths(&self) -> &[String] {
        &self.paths
    }

    fn left_out(&self) -> &[String] {
        &self.left_out
    }

    async fn open(&self, path: &str) -> Result<ArtifactFile, ReadError> {
        let engine = self.container.engine();
        let pieces = engine.download_pieces(self.container.handle(), &format!("{WORKDIR}/{path}"));
        archive::file_of(pieces, self.reader).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_are_not_text_are_told_as_well_as_they_can_be() {
        assert_eq!(text(b"a/\xffb"), "a/\u{fffd}b");
        assert_eq!(text("ä".as_bytes()), "ä");
        assert_eq!(text(&[0xff; MAX_PATH]).len(), MAX_PATH - MAX_PATH % 3);
    }
}

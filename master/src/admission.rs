//! Access control at startup: decides whether a token is required, and maintains the token files,
//! one for each role.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use orchestra_contracts::{Role, Token};

use crate::{
    Config, MasterError,
    http::Access,
    service::{Adopted, Service, new_token},
};

/// Lies in the folder of its role, so that each folder can be passed on separately, as a volume.
const FILE: &str = "token";
/// Lies in the folder of all roles.
const LOCK: &str = ".lock";

/// Decides who is let in at `address`. Clients on other machines need a token, unless the operator
/// explicitly allows everybody.
pub(crate) async fn prepare(
    config: &Config,
    address: SocketAddr,
    service: &Service,
) -> Result<Access, MasterError> {
    let hosts = config.hosts()?;
    let mut valid = service.load_tokens().await?;
    if let Some(folder) = &config.tokens {
        // Another master that starts with the same empty folder waits here, then finds the tokens.
        let _alone = alone(folder).await;
        for role in Role::ALL {
            adopt(service, folder, role).await?;
            valid += 1;
        }
    }
    if let Some(token) = &config.lent {
        service.lend_token(token);
    }
    let outside = !address.ip().is_loopback();
    if config.allow_anyone || (config.tokens.is_none() && !outside) {
        if outside {
            tracing::warn!(
                %address,
                "EVERYBODY who reaches this address can run commands here (ORCHESTRA_ALLOW_ANYONE)"
            );
        }
        return Ok(Access::open(address.ip(), hosts));
    }
    if valid == 0 { Err(MasterError::NoTokens(address)) } else { Ok(Access::with_tokens(hosts)) }
}

/// Waits until no other master works on this folder. `None` if the lock file cannot be created:
/// then either all tokens exist already, or writing one fails with a clear error.
async fn alone(folder: &Path) -> Option<File> {
    let path = folder.join(LOCK);
    let lock = move || {
        DirBuilder::new().recursive(true).mode(0o700).create(path.parent()?).ok()?;
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).ok()?;
        file.lock().ok()?;
        Some(file)
    };
    tokio::task::spawn_blocking(lock).await.ok().flatten()
}

/// Admits the token in this role's file. Makes a new token if there is none or if it was revoked.
async fn adopt(service: &Service, folder: &Path, role: Role) -> Result<(), MasterError> {
    let path = folder.join(role.as_str()).join(FILE);
    let unusable = |reason: String| MasterError::TokenFile { path: path.clone(), reason };
    let unwritable = |error: io::Error| unusable(format!("{error}; its folder must be writable"));
    if let Some(token) = read(&path).map_err(unusable)?
        && service.adopt_token(role, &token).await? == Adopted::Valid
    {
        return Ok(());
    }
    let token = new_token();
    write(&path, &token).map_err(unwritable)?;
    service.adopt_token(role, &token).await?;
    tracing::info!(%role, file = %path.display(), "made a token");
    Ok(())
}

/// Reads a token file. `None` if it does not exist yet.
fn read(path: &Path) -> Result<Option<Token>, String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{error}; the master must be able to read it")),
    };
    let token = Token::new(&text);
    if !token.is_well_formed() {
        return Err("it holds no token; move it away to have one made".to_owned());
    }
    if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
        tracing::warn!(file = %path.display(), "others than its owner may read this token");
    }
    Ok(Some(token))
}

/// Writes a token file atomically, readable by its owner alone.
fn write(path: &Path, token: &Token) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    writeln!(file, "{}", token.as_str())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_is_its_owner_s_alone_and_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/worker/token");
        assert!(read(&path).unwrap().is_none());
        let token = new_token();
        write(&path, &token).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().as_str(), token.as_str());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_file_with_anything_else_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for wrong in ["", "hunter2\n", "orchestra_"] {
            fs::write(&path, wrong).unwrap();
            let reason = read(&path).unwrap_err();
            assert!(reason.contains("move it away") && !reason.contains("hunter2"), "{reason}");
            assert_eq!(fs::read_to_string(&path).unwrap(), wrong);
        }
    }

    #[tokio::test]
    async fn one_master_at_a_time_looks_through_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("new");
        let first = alone(&tokens).await;
        assert!(first.is_some());
        let mut second = std::pin::pin!(alone(&tokens));
        let pause = std::time::Duration::from_millis(200);
        assert!(tokio::time::timeout(pause, &mut second).await.is_err(), "it waits");
        drop(first);
        assert!(second.await.is_some());
        // A folder that cannot be locked does not stop the master from reading it.
        assert!(alone(Path::new("/proc/orchestra")).await.is_none());
    }

    #[test]
    fn made_tokens_are_long_and_never_alike() {
        let (one, other) = (new_token(), new_token());
        assert!(one.is_well_formed() && other.is_well_formed());
        assert_ne!(one.as_str(), other.as_str());
    }
}

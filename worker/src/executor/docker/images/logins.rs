//! What the engine's command line has been told to say to registries: `config.json` as
//! `docker login` writes it. Read at each pull, for such words change; never logged.
//!
//! Only what stands in the file itself: a helper program (`credHelpers`, `credsStore`) is
//! not run, and a registry that needs one is asked without a name.

use std::{collections::HashMap, io, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard::auth::DockerCredentials;
use serde::Deserialize;

/// Under which Docker's own registry stands in the file.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    auths: HashMap<String, Login>,
}

#[derive(Default, Deserialize)]
struct Login {
    /// `name:password` in base64.
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: Option<String>,
}

/// What to say to `registry`; `None` for nothing at all.
pub(super) async fn of(
    file: Option<&Path>,
    registry: &str,
) -> Result<Option<DockerCredentials>, String> {
    let Some(file) = file else { return Ok(None) };
    let text = match tokio::fs::read(file).await {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(format!("{} cannot be read: {err}", file.display())),
    };
    // The error's own words could repeat a password.
    let unreadable = |what| format!("{what} in {} cannot be read", file.display());
    let logins: File = serde_json::from_slice(&text).map_err(|_| unreadable("what stands"))?;
    let Some(login) = entry(logins, registry) else { return Ok(None) };
    let broken = || unreadable("the login of that registry");
    let decoded = STANDARD.decode(login.auth.trim()).map_err(|_| broken())?;
    let decoded = String::from_utf8(decoded).map_err(|_| broken())?;
    let (name, password) = decoded.trim_end_matches('\0').split_once(':').unwrap_or_default();
    let token = login.identitytoken.filter(|token| !token.is_empty());
    if token.is_none() && name.is_empty() {
        return Ok(None);
    }
    let login = DockerCredentials {
        username: Some(name.to_owned()),
        password: Some(password.to_owned()),
        serveraddress: Some(registry.to_owned()),
        identitytoken: token,
        ..DockerCredentials::default()
    };
    if is_lost_on_the_way(&login) {
        return Err("its login cannot be passed on to the engine; \
             choose a password without the characters > ? ~"
            .to_owned());
    }
    Ok(Some(login))
}

fn entry(mut logins: File, registry: &str) -> Option<Login> {
    let hub = (registry == "docker.io").then_some(DOCKER_HUB);
    let https = format!("https://{registry}");
    let keys = hub.into_iter().chain([registry, &https]);
    keys.into_iter().find_map(|key| logins.auths.remove(key))
}

/// The engine reads this header in the alphabet for URLs, and takes what it cannot read for
/// no login; the library writes it in the other one. They differ in two characters.
fn is_lost_on_the_way(login: &DockerCredentials) -> bool {
    let json = serde_json::to_vec(login).unwrap_or_default();
    STANDARD.encode(json).contains(['+', '/'])
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn login(text: &str, registry: &str) -> Result<Option<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, text).unwrap();
        let login = of(Some(&file), registry).await?;
        Ok(login.map(|it| (it.username.unwrap(), it.password.unwrap())))
    }

    fn file(key: &str, words: &str) -> String {
        format!(r#"{{"auths": {{"{key}": {{"auth": "{}"}}}}}}"#, STANDARD.encode(words))
    }

    #[tokio::test]
    async fn each_registry_has_its_own() {
        let some = |name: &str, word: &str| Ok(Some((name.to_owned(), word.to_owned())));
        let ours = file("ghcr.io", "me:a:b");
        assert_eq!(login(&ours, "ghcr.io").await, some("me", "a:b"));
        assert_eq!(login(&ours, "docker.io").await, Ok(None));
        let hub = file(DOCKER_HUB, "you:secret");
        assert_eq!(login(&hub, "docker.io").await, some("you", "secret"));
        assert_eq!(login("{\"credsStore\": \"desktop\"}", "ghcr.io").await, Ok(None));
        assert!(of(Some(Path::new("/nowhere/config.json")), "ghcr.io").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_told_without_being_shown() {
        for text in ["{\"auths\": {\"ghcr.io\": {\"auth\": \"hunter2!\"}}}", "hunter2"] {
            let error = login(text, "ghcr.io").await.unwrap_err();
            assert!(error.contains("config.json") && !error.contains("hunter2"), "{error}");
        }
        let lost: Vec<bool> = futures::future::join_all(["a~~~", "a???"].map(async |word| {
            login(&file("ghcr.io", &format!("me:{word}")), "ghcr.io").await.is_err()
        }))
        .await;
        assert_eq!(lost, [true, true], "the engine would take it for no login at all");
    }
}

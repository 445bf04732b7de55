//! The registry logins of the engine's command line: `config.json` as `docker login` writes it, and
//! the credential helpers that it names. Read at each pull, because logins change. Never logged.

use std::{collections::HashMap, ffi::OsStr, io, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard::auth::DockerCredentials;
use serde::Deserialize;

use super::helper::{self, RegistryCredentials};

/// The key of Docker's own registry in the file.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    auths: HashMap<String, Login>,
    /// The credential helper of each registry.
    #[serde(default, rename = "credHelpers")]
    helpers: HashMap<String, String>,
    /// The credential helper of all other registries.
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Login {
    /// `name:password` in base64.
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: Option<String>,
}

/// The login for `registry`. `None` if there is none.
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
    // The parser's message could repeat a password.
    let unreadable = |what| format!("{what} in {} cannot be read", file.display());
    let mut logins: File = serde_json::from_slice(&text).map_err(|_| unreadable("what stands"))?;
    let words = match (of_helper(&logins, registry).await?, entry(&mut logins, registry)) {
        (None, Some(login)) => {
            login.words().map_err(|()| unreadable("the login of that registry"))?
        }
        (words, _) => words,
    };
    let Some(words) = words else { return Ok(None) };
    let (username, password, identitytoken) = match words {
        RegistryCredentials::Login { name, password } => (name, password, None),
        RegistryCredentials::Token(token) => (String::new(), String::new(), Some(token)),
    };
    let login = DockerCredentials {
        username: Some(username),
        password: Some(password),
        serveraddress: Some(registry.to_owned()),
        identitytoken,
        ..DockerCredentials::default()
    };
    if is_lost_on_the_way(&login) {
        return Err("its login cannot be passed on to the engine; \
             choose a password without the characters > ? ~"
            .to_owned());
    }
    Ok(Some(login))
}

impl Login {
    /// The credentials in the file.
    fn words(self) -> Result<Option<RegistryCredentials>, ()> {
        let decoded = STANDARD.decode(self.auth.trim()).map_err(drop)?;
        let decoded = String::from_utf8(decoded).map_err(drop)?;
        let (name, password) = decoded.trim_end_matches('\0').split_once(':').unwrap_or_default();
        if let Some(token) = self.identitytoken.filter(|token| !token.is_empty()) {
            return Ok(Some(RegistryCredentials::Token(token)));
        }
        let (name, password) = (name.to_owned(), password.to_owned());
        Ok((!name.is_empty()).then_some(RegistryCredentials::Login { name, password }))
    }
}

/// The credentials from the registry's own helper, or else from the common one.
async fn of_helper(logins: &File, registry: &str) -> Result<Option<RegistryCredentials>, String> {
    let own = keys(registry).find_map(|key| logins.helpers.get(&key));
    let Some(name) = own.or(logins.store.as_ref()) else { return Ok(None) };
    let program = helper::program(name)
        .ok_or_else(|| "the name of its credential helper is no program's name".to_owned())?;
    let server = if registry == "docker.io" { DOCKER_HUB } else { registry };
    match helper::ask(OsStr::new(&program), server).await {
        // A common helper that is missing (of a desktop, say) counts as empty. A registry's own
        // must work.
        Err(_) if own.is_none() => Ok(None),
        words => words,
    }
}

fn entry(logins: &mut File, registry: &str) -> Option<Login> {
    keys(registry).find_map(|key| logins.auths.remove(&key))
}

/// The keys under which a registry may appear in the file.
fn keys(registry: &str) -> impl Iterator<Item = String> {
    let hub = (registry == "docker.io").then(|| DOCKER_HUB.to_owned());
    hub.into_iter().chain([registry.to_owned(), format!("https://{registry}")])
}

/// The engine decodes this header with the URL alphabet, and takes one that it cannot decode for no
/// login. The library encodes it with the standard alphabet. They differ in two characters.
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
        let helper = r#"{"credHelpers": {"ghcr.io": "no-such-helper"}}"#;
        let error = login(helper, "ghcr.io").await.unwrap_err();
        assert!(error.starts_with("docker-credential-no-such-helper cannot be run"), "{error}");
        assert_eq!(login(helper, "quay.io").await, Ok(None));
        let odd = login(r#"{"credsStore": "../x"}"#, "ghcr.io").await.unwrap_err();
        assert!(odd.contains("no program's name"), "{odd}");
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

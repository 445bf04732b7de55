//! The network of jobs that ask for one: one bridge per engine, owned by Orchestra, that leads out
//! and isolates its containers from each other. It is created when a job first needs it, and it
//! stays, like the sandbox's volume. `wall` blocks what a job must not reach on it.

use bollard::models::{Network, NetworkCreateRequest};

use super::{
    container::ROLE_LABEL,
    engine::{Engine, EngineError},
};

/// A network with other settings needs another name.
const NAME: &str = "orchestra-jobs";
const ROLE: &str = "network";

/// The network's id, and all networks of the engine. An engine before 25.0 creates several networks
/// of one name when several clients ask at once. Then all of them agree on the first, and the
/// others remove their own.
pub(super) async fn ensure(engine: &Engine) -> Result<(String, Vec<Network>), EngineError> {
    let all = engine.networks().await?;
    if let Some(id) = first(&all) {
        return Ok((id, all));
    }
    let made = match engine.create_network(request()).await {
        Ok(made) => made,
        // Another client was faster, or the engine created it without an answer.
        Err(error) if error.is_absence() || matches!(error, EngineError::Conflict(_)) => {
            let all = engine.networks().await?;
            return first(&all).map(|id| (id, all)).ok_or(error);
        }
        Err(error) => return Err(error),
    };
    let all = engine.networks().await?;
    let agreed = first(&all).unwrap_or_else(|| made.clone());
    if agreed != made {
        engine.remove_network(&made).await?;
    }
    Ok((agreed, all))
}

fn request() -> NetworkCreateRequest {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    NetworkCreateRequest {
        name: NAME.to_owned(),
        driver: Some("bridge".to_owned()),
        // The wall handles only IPv4.
        enable_ipv6: Some(false),
        options: Some([("com.docker.network.bridge.enable_icc", "false")].map(owned).into()),
        labels: Some([(ROLE_LABEL, ROLE)].map(owned).into()),
        ..NetworkCreateRequest::default()
    }
}

/// The oldest of our networks.
pub(super) fn first(all: &[Network]) -> Option<String> {
    let ours = all.iter().filter(|network| {
        let labels = network.labels.as_ref();
        network.name.as_deref() == Some(NAME)
            && labels.is_some_and(|labels| labels.contains_key(ROLE_LABEL))
    });
    let first = ours.min_by_key(|network| (network.created.clone(), network.id.clone()));
    first.and_then(|network| network.id.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn network(name: &str, role: Option<&str>, created: &str, id: &str) -> Network {
        let labels = role.map(|role| json!({"orchestra.role": role}));
        let description = json!({"Name": name, "Id": id, "Created": created, "Labels": labels});
        serde_json::from_value(description).unwrap()
    }

    #[test]
    fn containers_on_it_do_not_speak_to_each_other() {
        let request = serde_json::to_value(request()).unwrap();
        assert_eq!(request["Options"]["com.docker.network.bridge.enable_icc"], "false");
        assert_eq!(request["EnableIPv6"], false);
        assert_eq!(request["Labels"], json!({"orchestra.role": "network"}));
    }

    #[test]
    fn of_several_the_first_is_used_and_a_namesake_of_others_is_not() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let all = vec![
            network("orchestra-jobs", None, early, "0"),
            network("bridge", Some(ROLE), early, "1"),
            network("orchestra-jobs", Some(ROLE), late, "2"),
            network("orchestra-jobs", Some(ROLE), early, "4"),
            network("orchestra-jobs", Some(ROLE), early, "3"),
        ];
        assert_eq!(first(&all).as_deref(), Some("3"));
        assert_eq!(first(&[]), None);
    }
}

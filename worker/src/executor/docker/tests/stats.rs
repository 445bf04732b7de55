//! What the master is told besides the offer.

use orchestra_contracts::{JobSpec, Workspace};
use tokio::time::{sleep, timeout};

use super::lab::{
    Lab,
    Start::{self, Warm},
};
use crate::executor::Executor;

const SOON: std::time::Duration = std::time::Duration::from_secs(30);

#[tokio::test]
async fn it_tells_of_its_engine_its_pool_its_images_and_its_health() {
    let start: Start = Warm;
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    lab.until_warm(1).await;
    lab.run("true").await.success();
    let private = JobSpec { workspace: Workspace::Private, ..JobSpec::new("true") };
    lab.run_spec(private).await.success();
    let stats = lab.executor.stats();
    assert_eq!(stats.pool.map(|pool| (pool.hits, pool.misses)), Some((1, 1)), "{stats:?}");
    let created = stats.engine["create a container"];
    assert!(created.count >= 2 && created.failed == 0, "{created:?}");
    let known = async {
        loop {
            let stats = lab.executor.stats();
            if !stats.images.is_empty() && !stats.checks.is_empty() {
                return stats;
            }
            sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let stats = timeout(SOON, known).await.expect("it has looked");
    let image = stats.images.iter().find(|image| image.name == lab.config.default_image).unwrap();
    assert!(image.built && image.size.is_some(), "{image:?}");
    let engine = stats.checks.iter().find(|check| check.name == "engine").unwrap();
    assert!(engine.ok && engine.fix.is_none(), "{engine:?}");
    lab.close().await;
}

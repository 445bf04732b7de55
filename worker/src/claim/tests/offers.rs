//! What the master is told of what jobs may have.

use orchestra_contracts::{Network, Size, worker::Offer};

use super::*;

fn offer(images: &[&str]) -> Offer {
    Offer {
        cpus: 2.0,
        memory: Size::mib(512),
        pids: 100,
        tmp: Size::mib(64),
        network: Network::None,
        images: images.iter().map(|&image| image.to_owned()).collect(),
        references: [].into(),
        runtime: None,
        user: None,
    }
}

/// The images of each registration so far.
fn told(master: &FakeMaster) -> Vec<Vec<String>> {
    let images = |it: Registration| it.offer.unwrap().images.into_iter().collect();
    master.registrations().into_iter().map(images).collect()
}

fn scene(images: &[&str]) -> Scene {
    let executor = Arc::<ScriptedExecutor>::default();
    executor.offers(offer(images));
    Scene::between(1, FakeMaster::scripted(&[]), executor)
}

#[tokio::test(start_paused = true)]
async fn a_worker_registers_again_when_its_offer_changes_and_not_else() {
    let scene = scene(&["gcc"]);
    sleep(Duration::from_mins(5)).await;
    assert_eq!(told(&scene.master), [["gcc"]]);
    scene.executor.offers(offer(&["gcc", "rust"]));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(told(&scene.master), [vec!["gcc"], vec!["gcc", "rust"]]);
    scene.executor.offers(offer(&["gcc", "rust"]));
    sleep(Duration::from_mins(5)).await;
    assert_eq!(told(&scene.master).len(), 2, "it said nothing new");
    scene.end().await;
}

/// What changed and changed back while nobody listened is not worth a word.
#[tokio::test(start_paused = true)]
async fn a_master_that_was_away_hears_of_the_newest_offer() {
    let scene = scene(&["gcc"]);
    sleep(Duration::from_secs(1)).await;
    scene.master.fall_silent();
    for images in [&["a"][..], &["b"], &["gcc", "c"]] {
        scene.executor.offers(offer(images));
        sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(told(&scene.master).len(), 1);
    scene.master.speak_again();
    sleep(Duration::from_mins(5)).await;
    assert_eq!(told(&scene.master), [vec!["gcc"], vec!["c", "gcc"]]);
    scene.end().await;
}

/// A master that has forgotten its workers has forgotten their offers.
#[tokio::test(start_paused = true)]
async fn a_worker_that_is_asked_to_registers_with_its_offer() {
    let scene = scene(&["gcc"]);
    sleep(Duration::from_secs(1)).await;
    scene.master.answer_heartbeats(|reply| reply.register = true);
    sleep(Duration::from_secs(1)).await;
    scene.master.answer_heartbeats(|reply| reply.register = false);
    let told = told(&scene.master);
    assert!(told.len() >= 2 && told.iter().all(|images| *images == ["gcc"]), "{told:?}");
    scene.end().await;
}

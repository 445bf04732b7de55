//! A worker whose clock is another than its master's.

use jiff::Timestamp;

use super::*;

async fn told(scene: &Scene) -> Option<orchestra_contracts::worker::Check> {
    let beats = scene.master.beats().len();
    while scene.master.beats().len() < beats + 2 {
        sleep(Duration::from_secs(1)).await;
    }
    scene.master.checks().into_iter().find(|check| check.name == "clock")
}

#[tokio::test(start_paused = true)]
async fn the_master_is_told_what_was_found_of_the_clock() {
    let scene = Scene::new(1, &[]);
    assert_eq!(told(&scene).await, None, "a master that tells no time is compared with nothing");
    scene.master.show(crate::clock::now());
    sleep(Duration::from_mins(1)).await;
    let check = told(&scene).await.expect("it was looked at");
    assert!(check.ok, "{check:?}");
    scene.master.show(Timestamp::UNIX_EPOCH);
    sleep(Duration::from_mins(10)).await;
    let check = told(&scene).await.expect("it was looked at again");
    assert!(!check.ok && check.detail.contains("ahead of the master's"), "{check:?}");
    assert!(check.fix.is_some_and(|fix| fix.contains("timedatectl")));
    scene.end().await;
}

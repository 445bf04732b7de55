//! The folders that jobs run in: what one job leaves in worker-files does not run in the next, and
//! a private folder is invisible to all others.

use bollard::models::VolumeCreateRequest;
use orchestra_contracts::{JobSpec, Workspace};

use rstest::rstest;

use super::lab::{
    Lab,
    Start::{self, Cold, Warm},
};

/// Plants everything that a shell, a loader or a program search could pick up in the next job's
/// starting folder. Each file leaves a mark when it runs.
const PLANT: &str = r#"
    for name in .bashrc .bash_profile .bash_login .profile .bash_aliases .inputrc .env ENV \
                bash sh ls env cat true test stat orchestra-sandbox ld.so.preload; do
        printf '#!/bin/bash\necho %s >> /work/ran\n' "$name" > "$name"; chmod 755 "$name"
    done
    mkdir -p bin lib usr/bin .git/hooks
    cp ls bin/ls; cp ls usr/bin/ls; cp ls .git/hooks/post-checkout
    echo 'not a library' > lib/libc.so.6; cp lib/libc.so.6 libc.so.6
    export BASH_ENV=/work/.bashrc ENV=/work/.bashrc LD_PRELOAD=/work/libc.so.6 PATH=/work:$PATH
    export PROMPT_COMMAND=/work/ls; (. ./.bashrc); rm ran
    for place in / /etc /etc/profile.d /usr/local/bin /root /tmp/.. ; do
        { echo x > "$place/planted"; } 2> /dev/null && echo "$place is writable"
    done; cp .bashrc .profile /tmp; echo planted"#;

#[rstest]
#[tokio::test]
async fn what_a_job_plants_does_not_run_in_the_next(#[values(Cold, Warm)] start: Start) {
    let Some(lab) = Lab::open_to(start, &[]).await else { return };
    assert_eq!(lab.run(PLANT).await.success(), "planted\n");
    assert!(lab.files().join(".bashrc").exists() && !lab.files().join("ran").exists());
    let next = "ls -d /work; bash -c true; sh -c true; bash -lc true; bash -ic true 2> /dev/null
        env | grep -E '^(BASH_ENV|ENV|LD_PRELOAD|PROMPT_COMMAND)='; echo $PATH; ls -A ~ | wc -l";
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lab.run(next).await.success(), format!("/work\n{path}\n0\n"));
    assert!(!lab.files().join("ran").exists(), "something that was planted has run");
    // It does run for a job that calls it.
    assert_eq!(lab.run("./ls; cat ran").await.success(), "ls\n");
    lab.close().await;
}

fn private(command: &str) -> JobSpec {
    JobSpec { workspace: Workspace::Private, ..JobSpec::new(command) }
}

#[tokio::test]
async fn a_private_folder_is_empty_and_goes_with_its_container() {
    let Some(lab) = Lab::open(&[]).await else { return };
    assert_eq!(lab.run("echo shared > file").await.success(), "");
    let command = "pwd; ls -A; stat -c '%u %a' .; id -u; echo mine > mine; cp /bin/true t && ./t
        mkdir deep && ln -s / deep/root && chmod 000 deep; cat mine; grep -c ' /work ' /proc/mounts";
    let user = lab.executor.worker_files.user.uid;
    let mut running = lab.start(private(&format!("{command}; echo here; sleep 1000")));
    running.until_output("here\n").await;

    // Another job sees nothing of it, whether its own folder is shared or private.
    assert_eq!(lab.run("ls -A").await.success(), "file\n");
    assert_eq!(lab.run_spec(private("ls -A; touch file")).await.success(), "");
    running.control.stop(crate::control::Stop::Cancel);
    let seen = running.end().await;
    let expected = format!("/work\n{user} 700\n{user}\nmine\n1\nhere\n");
    assert_eq!(seen.stdout(), expected, "{}{}", seen.stderr(), seen.notes());
    assert_eq!(lab.run("ls -A").await.success(), "file\n");

    let engine = lab.executor.keeper.engine.clone();
    let ours = format!("orchestra.worker={}", lab.executor.keeper.worker);
    lab.close().await;
    assert_eq!(engine.unused_volumes(&ours).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_private_folder_that_was_left_behind_is_swept() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let keeper = &lab.executor.keeper;
    let name = format!("left-{}", keeper.worker);
    let request = VolumeCreateRequest {
        name: Some(name.clone()),
        labels: Some(keeper.labels("job")),
        ..VolumeCreateRequest::default()
    };
    keeper.engine.create_volume(request).await.unwrap();
    let ours = format!("orchestra.worker={}", keeper.worker);
    assert_eq!(keeper.engine.unused_volumes(&ours).await.unwrap(), [name]);
    keeper.sweep().await.unwrap();
    assert_eq!(keeper.engine.unused_volumes(&ours).await.unwrap(), [""; 0]);
    lab.close().await;
}

//! What a job can see and do, told by the job itself.

use std::{fs, os::unix::fs::MetadataExt};

use orchestra_contracts::{JobSpec, Network};

use super::lab::Lab;

#[tokio::test]
async fn a_job_is_an_ordinary_user_without_any_privilege() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let status = lab.run("id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status");
    let status = status.await.success();
    let user = lab.executor.worker_files.user.uid;
    assert_ne!(user, 0);
    let none = "0000000000000000";
    for line in [
        format!("{user}\n"),
        format!("CapEff:\t{none}\n"),
        format!("CapBnd:\t{none}\n"),
        "NoNewPrivs:\t1\n".to_owned(),
        "Seccomp:\t2\n".to_owned(),
    ] {
        assert!(status.contains(&line), "{line} is not in\n{status}");
    }
    lab.close().await;
}

#[tokio::test]
async fn only_worker_files_and_tmp_can_be_written_to() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let command =
        "pwd; umask; echo kept > kept; mkdir folder; cp /bin/true /tmp/t && /tmp/t && echo runs
        for place in / /etc /usr/bin /orchestra /var/tmp /proc/sys/kernel/hostname; do
            { touch $place/x; } 2>/dev/null && echo $place is writable
        done; true";
    assert_eq!(lab.run(command).await.success(), "/work\n0022\nruns\n");
    let kept = lab.files().join("kept");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "kept\n");
    assert_eq!(kept.metadata().unwrap().uid(), lab.executor.worker_files.user.uid);
    assert_eq!(lab.run("cat kept").await.success(), "kept\n");
    lab.close().await;
}

#[tokio::test]
async fn there_is_no_network_but_a_loopback() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '";
    assert_eq!(lab.run(interfaces).await.success(), "lo\n");
    lab.close().await;
}

#[tokio::test]
async fn an_operator_can_allow_the_bridge() {
    let Some(lab) = Lab::open(&["--allow-network"]).await else { return };
    let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort";
    let spec = JobSpec { network: Network::Bridge, ..JobSpec::new(interfaces) };
    assert!(lab.run_spec(spec).await.success().contains("eth0\n"));
    assert_eq!(lab.run(interfaces).await.success(), "lo\n", "only for those that ask");
    lab.close().await;
}

#[tokio::test]
async fn the_environment_is_exactly_ours() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let mut spec = JobSpec::new("env -u _ -u SHLVL -u PWD -u OLDPWD | sort");
    spec.env = [("MINE".to_owned(), "grüße; $HOME \"'".to_owned())].into();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let expected = format!(
        "FROM_IMAGE=yes\nHOME=/tmp\nLANG=C.UTF-8\nLOGNAME=job\nMINE=grüße; $HOME \"'\n\
         ORCHESTRA_ATTEMPT=1\nORCHESTRA_JOB_ID=7\nPATH={path}\nUSER=job\n"
    );
    assert_eq!(lab.run_spec(spec).await.success(), expected);
    lab.close().await;
}

#[tokio::test]
async fn limits_hold() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let command = "ulimit -n; ulimit -c; df -k --output=size /tmp | tail -1
        head -c 300m /dev/zero > /tmp/full 2>/dev/null || echo full; rm /tmp/full
        for i in $(seq 300); do sleep 60 & done 2>&1 | grep -c -m1 'Resource temporarily unavailable'";
    let seen = lab.run(command).await;
    assert_eq!(seen.stdout(), "1024\n0\n   262144\nfull\n1\n", "{}", seen.stderr());
    lab.close().await;
}

#[tokio::test]
async fn pid_1_keeps_its_secrets() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let command = "for file in environ mem fd/0 fd/1; do
            { cat /proc/1/$file > /dev/null; } 2>/dev/null && echo $file is open
        done; { echo x > /proc/1/fd/1; } 2>/dev/null && echo writable; true";
    assert_eq!(lab.run(command).await.success(), "");
    lab.close().await;
}

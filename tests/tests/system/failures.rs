//! Error messages of Orchestra itself: one sentence that says what to do, exit code 125, and never a
//! trace of a panic.

use std::{
    ffi::OsString,
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

use orchestra_tests::{SmallDisk, free_port, is_root, program, skip, wait};
use tempfile::TempDir;

const NOBODY: u32 = 65_534;

/// A folder for data and worker-files that every user can enter.
fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("worker-files")).expect("a new folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    folder
}

fn settle(command: &mut Command, folder: &Path, port: u16) {
    command
        .current_dir(folder)
        .env("ORCHESTRA_LISTEN", format!("127.0.0.1:{port}"))
        .env("ORCHESTRA_DATA", folder.join("data"))
        .env("ORCHESTRA_WORKER_FILES", folder.join("worker-files"));
}

/// Runs the command in this folder and returns its error message.
async fn sentence(arguments: &[&str], folder: &Path, change: impl FnOnce(&mut Command)) -> String {
    let mut command = program::command(arguments);
    settle(&mut command, folder, free_port());
    change(&mut command);
    program::run(command, wait::COMMAND).await.own_failure()
}

/// The same as an unprivileged user. Only root can switch to one.
async fn sentence_of_nobody(arguments: &[&str], folder: &Path) -> String {
    // That user cannot read the folder of the program.
    let copy = folder.join("orchestra");
    fs::copy(program::path(), &copy).expect("the program can be copied");
    let ids: [OsString; 3] = [
        format!("--reuid={NOBODY}").into(),
        format!("--regid={NOBODY}").into(),
        "--clear-groups".into(),
    ];
    let mut command = program::command_of(Path::new("setpriv"), ids);
    command.arg(&copy).args(arguments);
    settle(&mut command, folder, free_port());
    program::run(command, wait::COMMAND).await.own_failure()
}

#[tokio::test]
async fn no_engine() {
    for verb in [&["up"][..], &["run", "true"]] {
        let folder = open_folder();
        let said = sentence(verb, folder.path(), |command| {
            command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        })
        .await;
        assert!(said.contains("/nonexistent/docker.sock"), "{said}");
    }
}

#[tokio::test]
async fn no_permission_on_the_socket() {
    if !is_root() {
        return skip("no permission on the socket", "only root can become a user without it");
    }
    let socket = Path::new("/var/run/docker.sock");
    if !socket.exists() || fs::metadata(socket).unwrap().permissions().mode() & 0o006 != 0 {
        return skip("no permission on the socket", "everybody may use this engine");
    }
    let folder = open_folder();
    for inside in ["data", "worker-files"] {
        fs::create_dir_all(folder.path().join(inside)).unwrap();
        chown(folder.path().join(inside), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let said = sentence_of_nobody(&["up"], folder.path()).await;
    assert!(said.contains("docker.sock"), "{said}");
    assert!(said.to_lowercase().contains("permission"), "{said}");
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written() {
    let folder = open_folder();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o555)).unwrap();
    let said = if is_root() {
        sentence_of_nobody(&["master"], folder.path()).await
    } else {
        sentence(&["master"], folder.path(), |_| ()).await
    };
    assert!(said.contains(data.to_str().unwrap()), "{said}");
}

#[tokio::test]
async fn a_full_data_folder() {
    let folder = open_folder();
    let Some(disk) = SmallDisk::mount(folder.path().join("data"), "1m") else { return };
    disk.fill(0);
    let said = sentence(&["master"], folder.path(), |_| ()).await;
    assert!(said.contains(disk.path().to_str().unwrap()), "{said}");
    assert!(said.contains("No space left") && said.contains("room"), "{said}");
}

#[tokio::test]
async fn a_port_in_use() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = open_folder();
    for verb in ["master", "up"] {
        let said = sentence(&[verb], folder.path(), |command| {
            command.env("ORCHESTRA_LISTEN", format!("127.0.0.1:{port}"));
        })
        .await;
        assert!(said.contains(&port.to_string()), "{said}");
    }
}

#[tokio::test]
async fn a_damaged_database() {
    let folder = open_folder();
    let database = folder.path().join("data/orchestra.db");
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(&database, "this is not a database, though it is long enough\n".repeat(100)).unwrap();
    let said = sentence(&["master"], folder.path(), |_| ()).await;
    assert!(said.contains(database.to_str().unwrap()), "{said}");
    assert!(fs::read_to_string(&database).unwrap().starts_with("this is not"), "it is kept");
}

#[tokio::test]
async fn settings_that_make_no_sense() {
    let folder = open_folder();
    for (name, value) in [("ORCHESTRA_LISTEN", "everywhere"), ("ORCHESTRA_SLOTS", "many")] {
        let mut command = program::command(["up"]);
        settle(&mut command, folder.path(), free_port());
        command.env(name, value);
        let ran = program::run(command, wait::COMMAND).await;
        assert!(ran.code != Some(0) && ran.stderr.contains(value), "{ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    }
}

//! Builds `orchestra-sandbox`, which the worker carries and puts into every job
//! container, and tells the crate where it is.
//!
//! A nested cargo builds it: for the worker's own target, with a static C
//! runtime, into a target folder of its own. (The outer cargo holds the lock of
//! the shared one until this script has ended.)

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// What the nested cargo may see of the outer one's environment. The rest
/// (profile, flags, wrappers such as clippy's) would make it build something else.
const KEPT: &[&str] = &[
    "CARGO_HOME",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTR",
    "CARGO_SOURCE_",
    "CARGO_MAKEFLAGS",
];

fn main() {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let workspace = manifest_dir.parent().expect("the crate stands in the workspace");
    for path in ["sandbox/src", "sandbox/Cargo.toml", "Cargo.lock", "worker/build.rs"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    let program = build(workspace, &PathBuf::from(variable("OUT_DIR")).join("sandbox"));
    println!("cargo::rustc-env=ORCHESTRA_SANDBOX={}", program.display());
}

fn build(workspace: &Path, target_dir: &Path) -> PathBuf {
    let target = variable("TARGET");
    let mut cargo = Command::new(variable("CARGO"));
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let linker = name.starts_with("CARGO_TARGET_") && name.ends_with("_LINKER");
        let cargos = name.starts_with("CARGO_") || name.starts_with("RUSTC_");
        if cargos && !linker && !KEPT.iter().any(|kept| name.starts_with(kept)) {
            cargo.env_remove(&*name);
        }
    }
    cargo
        .current_dir(workspace)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .args(["build", "--locked", "--package=orchestra-sandbox", "--bin=orchestra-sandbox"])
        .args(["--profile=sandbox", "--target", &target, "--target-dir"])
        .arg(target_dir);
    let status = cargo.status().expect("cargo runs this script, so it can be run");
    assert!(status.success(), "building orchestra-sandbox failed, see above");
    target_dir.join(target).join("sandbox/orchestra-sandbox")
}

#[expect(clippy::disallowed_methods, reason = "it is how cargo speaks to build scripts")]
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

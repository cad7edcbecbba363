//! The programs that are tested: those beside this test, built if need be.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The directory of the programs. They are built as all other tests of the workspace do it, so that
/// nobody builds them twice.
#[expect(clippy::disallowed_methods, reason = "cargo builds them")]
pub(crate) fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has a file");
        let dir = test.ancestors().nth(2).expect("tests are in target/PROFILE/deps");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("init/ is in the root");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root).args(["build", "--quiet", "--workspace", "--bins"]);
        if dir.ends_with("release") {
            cargo.arg("--release");
        }
        cargo.env("CARGO_TARGET_DIR", dir.parent().expect("the profile's directory is in target"));
        assert!(cargo.status().expect("cargo runs").success(), "the programs do not build");
        dir.to_owned()
    })
}

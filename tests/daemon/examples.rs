//! Every script in `rhaiexamples/` runs against the real programs, and every snippet of the README
//! of zinit 0.3 that is not about Xinit runs as it stands.

use std::fs;
use std::path::{Path, PathBuf};

use zinit_tests::daemon::Home;

fn example(number: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rhaiexamples");
    let listed = fs::read_dir(dir).expect("there are examples").flatten();
    let mut found = listed
        .map(|it| it.path())
        .filter(|it| it.file_name().is_some_and(|name| name.to_string_lossy().starts_with(number)));
    found.next().expect("there is an example of that number")
}

/// Runs an example in a server of its own and returns what it printed.
fn run(number: &str) -> (Home, String) {
    let home = Home::new().start();
    let said = home.zinit([example(number)]);
    (home, said)
}

#[test]
fn the_first_service_is_left_running() {
    let home = Home::new();
    let said = home.zinit(["--start".as_ref(), example("01").as_os_str()]);
    assert!(said.contains("hello is Running"), "{said}");
    assert_eq!(home.status("hello").state, "Running");
}

#[test]
fn the_web_server_answers() {
    let (home, said) = run("02");
    assert!(home.zinit(["list"]).starts_with("No services"), "{said}");
}

#[test]
fn redis_serves_its_client() {
    let (home, said) = run("03");
    assert!(home.zinit(["list"]).starts_with("No services"), "{said}");
}

#[test]
fn postgres_is_made_started_and_asked() {
    let (home, said) = run("04");
    assert!(home.zinit(["list"]).starts_with("No services"), "{said}");
}

#[test]
fn the_pipeline_runs_to_its_end() {
    let (home, said) = run("05");
    assert!(home.zinit(["list"]).starts_with("No services"), "{said}");
}

#[test]
fn the_killed_service_heals() {
    let (home, said) = run("06");
    assert!(home.zinit(["list"]).starts_with("No services"), "{said}");
}

#[test]
fn every_example_has_its_test() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rhaiexamples");
    assert_eq!(
        fs::read_dir(dir).expect("there are examples").count(),
        6,
        "a test for each, please"
    );
}

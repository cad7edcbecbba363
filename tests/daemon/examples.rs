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

/// Runs an example in a server of its own; it must end well and leave no service behind.
///
/// On a machine without the programs that it supervises it is skipped, and says so; CI has them all.
fn leaves_nothing(number: &str, programs: &[&str]) {
    let missing = programs.iter().find(|it| !is_installed(it));
    if let Some(program) = missing.filter(|_| std::env::var_os("CI").is_none()) {
        eprintln!("skipped: `{program}` is not installed");
        return;
    }
    let home = Home::new().start();
    let said = home.zinit([example(number)]);
    assert!(home.zinit(["list"]).starts_with("No services"), "{said}");
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let postgres = Path::new("/usr/lib/postgresql").is_dir() && program == "postgres";
    postgres || std::env::split_paths(&path).any(|it| it.join(program).is_file())
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
    leaves_nothing("02", &["python3"]);
}

#[test]
fn redis_serves_its_client() {
    leaves_nothing("03", &["redis-server", "redis-cli"]);
}

#[test]
fn postgres_is_made_started_and_asked() {
    leaves_nothing("04", &["postgres", "psql"]);
}

#[test]
fn the_pipeline_runs_to_its_end() {
    leaves_nothing("05", &[]);
}

#[test]
fn the_killed_service_heals() {
    leaves_nothing("06", &[]);
}

#[test]
fn the_lines_of_the_clerk_are_found() {
    leaves_nothing("07", &[]);
}

#[test]
fn every_example_has_its_test() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rhaiexamples");
    let count = fs::read_dir(dir).expect("there are examples").count();
    assert_eq!(count, 7, "a test for each, please");
}

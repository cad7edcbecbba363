//! The README is true: its blocks are executed from top to bottom in one home, and its lists are
//! those of the program.
//!
//! | block | what is done with it |
//! |---|---|
//! | `sh` | run by bash; lines of `cargo` are checked, and tried with what is built already |
//! | `console` | each `$` line is run by bash and must say what follows; numbers may differ, `...` is the rest, `[exit N]` the exit code unless it is 0 |
//! | `console` that begins with `$ zinit` | typed at the prompt, line by line; the screen must be the same in the end |
//! | `yaml`, `rhai` with a path in the first line | that file, which must be valid |
//! | `yaml` | a service, which must be valid |
//! | `rhai` | run as a script |
//! | `text` | nothing |
//!
//! `~` is a directory of the test's own, and the ports 8080 to 8084 and 9123 are free ones.

mod lists;
mod session;
mod sitting;

use std::fs;
use std::path::{Path, PathBuf};

use session::Session;
use zinit_host::spec::Spec;

/// A fenced block.
struct Block<'a> {
    /// What stands behind the fence.
    mark: &'a str,
    text: &'a str,
    /// The number of its first line.
    line: usize,
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ is in the root").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn blocks(readme: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut line = 1;
    for (index, part) in readme.split("```").enumerate() {
        if index % 2 == 1 {
            let (mark, text) = part.split_once('\n').expect("a block has lines");
            blocks.push(Block { mark, text, line: line + 1 });
        }
        line += part.matches('\n').count();
    }
    blocks
}

#[test]
fn every_block_does_what_it_says() {
    let readme = read("README.md");
    let blocks = blocks(&readme);
    assert!(blocks.len() > 12, "only {} blocks were found", blocks.len());
    let session = Session::new(&root());
    for Block { mark, text, line } in blocks {
        let text = session.at_free_ports(text);
        if text.contains("unshare ") && !session.has_namespaces() {
            eprintln!("README.md:{line}: skipped: this user may not make PID namespaces");
            continue;
        }
        let done = match (mark, file_of(&text)) {
            ("sh", _) => session.shell(&text),
            ("console", _) => session.console(&text),
            ("yaml", Some(path)) => session.service_file(path, &text),
            ("yaml", None) => Spec::from_yaml(&text, Path::new("README.md"))
                .map(drop)
                .map_err(|it| it.to_string()),
            ("rhai", Some(path)) => session.policy_file(path, &text),
            ("rhai", None) => session.script(&text),
            ("text", _) => Ok(()),
            _ => Err(format!("nobody knows what to do with `{mark}`")),
        };
        done.unwrap_or_else(|why| panic!("README.md:{line}: {why}\n{}", session.server_log()));
    }
}

/// The file that a block is: its first line is a comment with the path.
fn file_of(text: &str) -> Option<&str> {
    let path = text.lines().next()?.trim_start_matches(['#', '/', '!']).trim();
    path.starts_with("~/").then_some(path)
}

#[test]
fn the_two_commands_of_a_fresh_machine_are_there() {
    let readme = read("README.md");
    let start = "cargo run --release --bin zinit -- --start rhaiexamples/01-first-service.rhai\n";
    let test = "cargo test --workspace\n";
    let alone =
        |command: &str| blocks(&readme).iter().any(|it| it.mark == "sh" && it.text == command);
    assert!(alone(start) && alone(test));
    assert!(read(".ci/run").contains(test), ".ci/run does the same");
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    let readme = read("README.md");
    let targets = readme.split("](").skip(1).filter_map(|it| it.split(')').next());
    let here = targets.filter(|it| !it.contains("://") && !it.starts_with('#'));
    for target in here {
        assert!(root().join(target).exists(), "{target} is not there");
    }
}

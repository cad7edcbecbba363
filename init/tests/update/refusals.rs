//! Releases that are refused before anything is changed, or even run.

use std::fs;

use crate::brain::{Brain, Temper};
use crate::world::World;

/// The update is refused with these words, nothing is changed, and nothing that came was run.
#[track_caller]
fn refused_unrun(world: &World, words: &str) {
    world.refuses(&["update", "--timeout", "1"], words);
    world.is_all("0.4.0");
    assert!(!world.has_run("0.4.1"), "something of it was run");
}

#[test]
fn a_manifest_that_was_changed_is_refused() {
    let world = World::new();
    world.publish("0.4.1", "");
    let manifest = world.read("web/manifest.json");
    world.write("web/manifest.json", &manifest.replace("0.4.1", "0.4.2"));
    refused_unrun(
        &world,
        "manifest.json`: its signature does not fit\nhint: nothing of it was used",
    );
    let signature = world.read("web/manifest.json.minisig");
    world.write("web/manifest.json", &manifest);
    world.write("web/manifest.json.minisig", &signature.replace("0.4.1", "0.4.2"));
    refused_unrun(&world, "manifest.json`: its signature does not fit\n");
    world.write("web/manifest.json.minisig", "<!DOCTYPE html>");
    refused_unrun(&world, "its signature is not one of minisign");
    fs::remove_file(world.path("web/manifest.json.minisig")).expect("it is there");
    refused_unrun(&world, "manifest.json.minisig`: the server answers 404\n");
}

#[test]
fn a_release_that_somebody_else_has_signed_is_refused() {
    let world = World::new();
    fs::remove_file(world.path("secret")).expect("it is there");
    world.new_key("secret");
    world.publish("0.4.1", "");
    refused_unrun(&world, "manifest.json`: it is signed with another key");
}

#[test]
fn an_old_manifest_that_is_served_again_is_refused() {
    let world = World::new();
    let files = ["web/manifest.json", "web/manifest.json.minisig"];
    world.publish("0.3.9", "");
    let old = files.map(|it| world.read(it));
    world.publish("0.4.1", "");
    world.write(files[0], &old[0]);
    refused_unrun(&world, "manifest.json`: its signature does not fit");
    world.write(files[1], &old[1]);
    refused_unrun(&world, "cannot update to 0.3.9: 0.4.0, which is here, is newer");
    assert!(!world.has_run("0.3.9"));
}

#[test]
fn a_program_that_is_not_what_was_signed_is_refused() {
    let world = World::new();
    world.publish("0.4.1", "");
    let path = world.published("zinit-server", "0.4.1");
    let text = fs::read_to_string(&path).expect("it is published");
    let tried = |text: &str, words: &str| {
        fs::write(&path, text).expect("it is writable");
        refused_unrun(&world, words);
    };
    tried(&text[..100], "it is truncated: 100 of ");
    tried(&text.replace("case", "CASE"), "its sha256 is ");
    tried(&format!("{text}\n"), "it is longer than the ");
    tried("", "it is truncated: 0 of ");
    fs::remove_file(&path).expect("it is there");
    refused_unrun(&world, "the server answers 404");
}

#[test]
fn a_download_that_is_cut_or_stalls_is_given_up() {
    let world = World::new();
    world.publish("0.4.1", "");
    let path = world.published("zinit-server", "0.4.1");
    let nasty = |ending: &str| {
        path.with_file_name(format!(
            "{}.{ending}",
            path.file_name().expect("it has one").to_string_lossy()
        ))
    };
    fs::write(nasty("cut"), "").expect("it is writable");
    world.refuses(&["update"], "zinit-server-0.4.1");
    world.is_all("0.4.0");
    fs::write(nasty("stalls"), "").expect("it is writable");
    refused_unrun(&world, "the server stays silent\nhint: `--timeout SECS`");
    world.write("web/manifest.json.silent", "");
    refused_unrun(&world, "manifest.json`: the server stays silent\nhint: `--timeout SECS`");
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let world = World::new();
    let url = "http://127.0.0.1:9";
    world.refuses(&["check", "--url", url], "cannot fetch `http://127.0.0.1:9/manifest.json`: ");
    world.refuses(&["check", "--url", "ftp://a"], "it is no URL that can be fetched\nhint: ");
}

#[test]
fn a_program_that_does_not_pass_its_test_is_not_put_in_place() {
    let world = World::new();
    let brain = Brain::start(&world, Temper::Well);
    let tried = |more: &str, words: &str| {
        world.publish("0.4.1", more);
        let out = world.run(&["update"]);
        let complained = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{complained}");
        assert!(complained.contains(words), "{complained}");
        world.is_all("0.4.0");
    };
    // It does not when it is published.
    let later = |what: &str| format!("test \"${{0##*/}}\" = zinit-server || {what}");
    let new = "cannot use the new `zinit-server` 0.4.1: ";
    tried(
        &later("{ echo zinit-server 0.4.7; exit; }"),
        &format!("{new}it says that it is 0.4.7\n"),
    );
    tried(&later("kill -SEGV $$"), &format!("{new}it was killed by SIGSEGV\n"));
    tried(&later("exit 101"), &format!("{new}it ended with 101\nhint: nothing was changed\n"));
    let check = |it: &str| format!("test \"$1\" != --check || {{ {it}; }}");
    tried(&check("kill -ABRT $$"), "its check failed: it was killed by SIGABRT");
    tried(
        &check("echo 'error: policy.rhai:3:1: no' >&2; exit 1"),
        "does not accept what is configured:\n  error: policy.rhai:3:1: no\nhint: nothing",
    );
    assert_eq!(brain.lives(), 0);
}

#[test]
fn what_the_version_in_place_does_not_accept_either_is_no_reason() {
    let world = World::new();
    let check = |lines: &str| {
        let lines = lines.split(' ').map(|it| format!("echo {it} >&2; ")).collect::<String>();
        format!("test \"$1\" != --check || {{ {lines} exit 1; }}")
    };
    world.install("0.4.0", &check("one two"));
    world.publish("0.4.1", &check("one three two"));
    let no = "does not accept what is configured:\n  three\nhint: ";
    world.refuses(&["update"], no);
    world.publish("0.4.1", &check("two"));
    world.does(&["update"]);
    world.is_all("0.4.1");
}

#[test]
fn without_a_key_nobody_is_trusted() {
    let world = World::new();
    world.publish("0.4.1", "");
    world.configure(&format!("url = \"{}\"\n", world.url));
    refused_unrun(
        &world,
        "error: cannot trust anybody: there is no public key\nhint: put `public_key",
    );
    world.configure("public_key = \"RWshort\"\n");
    refused_unrun(&world, "error: cannot use the public key: `RWshort` is none\nhint: ");
    world.configure(&format!("public_key = \"{}\"\n", world.public));
    refused_unrun(
        &world,
        "error: cannot update: nobody says from where\nhint: set ZINIT_UPDATE_URL",
    );

    let mut updater = world.command();
    updater.env("ZINIT_UPDATE_KEY", &world.public).env("ZINIT_UPDATE_URL", &world.url);
    assert!(updater.arg("update").output().expect("it runs").status.success());
    world.is_all("0.4.1");
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_its_line_and_stays() {
    let world = World::new();
    world.publish("0.4.1", "");
    let torn = "# mine\npublic_key = RW\n";
    world.configure(torn);
    refused_unrun(&world, "zinit_latest.toml`:2:14: ");
    assert_eq!(world.state(), torn);
}

#[test]
fn a_release_for_other_machines_is_refused() {
    let world = World::new();
    world.publish("0.4.1", "");
    let build = world.path("build").display().to_string();
    let (web, secret) = (world.path("other"), world.path("secret"));
    let (web, secret) = (web.display().to_string(), secret.display().to_string());
    let of_pdp = ["--version", "0.4.1", "--key", &secret, "--target", "pdp11"];
    world.does(&[&["release", &web, "--from", &build][..], &of_pdp].concat());
    let url = format!("file://{web}");
    world.refuses(&["update", "--url", &url], "it was made for pdp11\n");
    world.is_all("0.4.0");
}

#[test]
fn errors_are_json_for_who_wants_it() {
    let world = World::new();
    world.configure("");
    let out = world.run(&["check", "--json"]);
    let error: serde_json::Value = serde_json::from_slice(&out.stderr).expect("JSON");
    assert_eq!((out.status.code(), &error["error"]["code"]), (Some(1), &"bad_state".into()));
    assert!(out.stdout.is_empty());
}

#[test]
fn no_argument_prints_the_help_and_a_wrong_one_is_wrong_usage() {
    let world = World::new();
    let help = world.does(&[]);
    for command in ["check", "update", "watch", "add", "remove", "list", "release", "--init"] {
        assert!(help.contains(command), "{help}");
    }
    let readme = include_str!("../../../README.md");
    let (_, listed) = help.split_once("Commands:\n").expect("it lists them");
    let listed = listed.lines().map_while(|it| it.split_whitespace().next());
    for command in listed.filter(|it| *it != "help") {
        assert!(readme.contains(&format!("| `zinit-updater {command}")), "{command}");
    }
    for args in [&["upgrade"][..], &["--init", "check"], &["add"], &["watch", "soon"]] {
        assert_eq!(world.run(args).status.code(), Some(2), "{args:?}");
    }
}

//! Whoever publishes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::world::{World, target};

#[test]
fn a_secret_key_is_for_its_owner_only_and_never_overwritten() {
    let world = World::new();
    let path = world.path("secret");
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let path = path.display().to_string();
    world.refuses(&["release", "--new-key", &path], "secret`: file exists");
    let said = world.does(&["release", "--new-key", &format!("{path}2")]);
    assert!(said.starts_with("public_key = \"RW") && said.ends_with("\"\n"), "{said}");
}

#[test]
fn a_second_target_is_added_to_what_is_there() {
    let world = World::new();
    world.publish("0.4.1", "");
    let [web, build, secret] =
        ["web", "build", "secret"].map(|it| world.path(it).display().to_string());
    let args = ["release", &web, "--from", &build, "--version", "0.4.1", "--key", &secret];
    world.does(&[&args[..], &["--target", "pdp11"]].concat());
    let manifest: Value = serde_json::from_str(&world.read("web/manifest.json")).expect("JSON");
    let targets: Vec<_> = manifest["targets"].as_object().expect("a map").keys().collect();
    assert_eq!(targets, ["pdp11", &target()]);
    world.does(&["update"]);
    world.is_all("0.4.1");
}

#[test]
fn a_release_that_others_would_refuse_is_not_made() {
    let world = World::new();
    world.publish("0.4.1", "");
    let before = world.read("web/manifest.json");
    let [web, build, secret] =
        ["web", "build", "secret"].map(|it| world.path(it).display().to_string());
    let release = |from: &str, version: &str, key: &str, words: &str| {
        let args = ["release", &web, "--from", from, "--version", version, "--key", key];
        world.refuses(&args, words);
    };
    release(&build, "0.4.2", &secret, "it says that it is 0.4.1");
    world.refuses(
        &["release", &web, "--from", "/", "--key", &secret],
        "no program of Zinit is in `/`\nhint: it has one of zinit, zinit-server, zinit-updater",
    );
    release("/nowhere", "0.4.1", &secret, "no program of Zinit is in `/nowhere`");
    release(&build, "0.4.1", "/nowhere", "cannot read `/nowhere`: no such file");
    release(
        &build,
        "0.4.1",
        &format!("{web}/manifest.json"),
        "hint: `zinit-updater release --new-key",
    );
    world.new_key("other");
    let other = world.path("other").display().to_string();
    release(
        &build,
        "0.4.1",
        &other,
        "it is signed with another key\nhint: remove it to begin anew",
    );
    assert_eq!(world.read("web/manifest.json"), before);
}

#[test]
fn a_release_is_what_its_programs_say() {
    let world = World::new();
    world.publish("0.4.1", "");
    let [web, build, secret] =
        ["web", "build", "secret"].map(|it| world.path(it).display().to_string());
    fs::remove_file(world.path("web/manifest.json")).expect("it is there");
    let made = world.answers(&["release", &web, "--from", &build, "--key", &secret]);
    assert_eq!(made["manifest"]["version"], "0.4.1");
    world.does(&["update"]);
    world.is_all("0.4.1");
}

#[test]
fn a_key_can_have_a_password() {
    let world = World::new();
    let path = world.path("locked").display().to_string();
    world.write("a.rhai", "let a = 1;\n");
    let script = world.path("a.rhai").display().to_string();
    let run = |args: &[&str], password: &str| {
        let out = world.command().args(args).env("ZINIT_KEY_PASSWORD", password).output();
        out.expect("it runs").status.code()
    };
    assert_eq!(run(&["release", "--new-key", &path], "open"), Some(0));
    assert_eq!(run(&["release", "--sign", &script, "--key", &path], "shut"), Some(1));
    assert!(!world.path("a.rhai.minisig").exists());
    assert_eq!(run(&["release", "--sign", &script, "--key", &path], "open"), Some(0));
    assert!(world.path("a.rhai.minisig").exists());
}

//! Tracked scripts.

use std::fs;

use serde_json::json;

use crate::world::World;

/// Publishes a script, signed, and returns its URL.
fn publish(world: &World, text: &str) -> String {
    world.write("web/web.rhai", text);
    let script = world.path("web/web.rhai").display().to_string();
    let secret = world.path("secret").display().to_string();
    world.does(&["release", "--sign", &script, "--key", &secret]);
    format!("{}/web.rhai", world.url)
}

/// A world without releases.
fn world() -> World {
    let world = World::new();
    world.configure(&format!("public_key = \"{}\"\n", world.public));
    world
}

fn stored(world: &World) -> String {
    world.read("home/cfg/zinit/scripts/web.rhai")
}

#[test]
fn a_signed_script_is_stored_and_runs_once_for_each_content() {
    let world = world();
    let url = publish(&world, "let a = 1;\n");
    let added = world.answers(&["add", &url]);
    assert_eq!((&added["url"], &added["pinned"]), (&json!(url), &json!(false)));
    assert_eq!(
        (stored(&world).as_str(), world.read("home/ran").as_str()),
        ("let a = 1;\n", "let a = 1;\n")
    );
    world.does(&["update"]);
    assert_eq!(world.read("home/ran"), "let a = 1;\n");

    publish(&world, "let a = 2;\n");
    let said = world.does(&["update"]);
    assert_eq!(said, format!("  {url}: updated\n"));
    assert_eq!(stored(&world), "let a = 2;\n");
    assert_eq!(world.read("home/ran"), "let a = 1;\nlet a = 2;\n");
    assert_eq!(world.does(&["update"]), format!("  {url}: up to date\n"));
    assert_eq!(world.read("home/ran"), "let a = 1;\nlet a = 2;\n");
}

#[test]
fn a_new_version_that_is_no_good_leaves_the_one_before_and_is_told_once() {
    let world = world();
    let url = publish(&world, "let a = 1;\n");
    world.does(&["add", &url]);
    for (text, why) in
        [("BROKEN\n", "line 1:9: Syntax error"), ("FAILS\n", "the script failed: no")]
    {
        publish(&world, text);
        world.refuses(&["update"], why);
        assert_eq!(stored(&world), "let a = 1;\n");
        assert_eq!(world.does(&["update"]), format!("  {url}: up to date\n"));
    }
    assert_eq!(world.read("home/ran"), "let a = 1;\nFAILS\n");
    let left = fs::read_dir(world.path("home/cfg/zinit/scripts")).expect("it is there").count();
    assert_eq!(left, 1);
    publish(&world, "let a = 3;\n");
    world.does(&["update"]);
    assert_eq!(stored(&world), "let a = 3;\n");
}

#[test]
fn what_is_not_signed_so_is_neither_run_nor_stored() {
    let world = world();
    let url = publish(&world, "let a = 1;\n");
    let old = [world.read("web/web.rhai"), world.read("web/web.rhai.minisig")];
    world.write("web/web.rhai", "let b = 1;\n");
    world.refuses(&["add", &url], "web.rhai`: its signature does not fit");
    // The same under another name.
    world.write("web/other.rhai", &old[0]);
    world.write("web/other.rhai.minisig", &old[1]);
    let other = format!("{}/other.rhai", world.url);
    world.refuses(&["add", &other], "other.rhai`: it was signed as `web.rhai`");
    fs::remove_file(world.path("web/web.rhai.minisig")).expect("it is there");
    world.refuses(&["add", &url], "web.rhai.minisig`: the server answers 404");
    world.configure("");
    world.refuses(&["add", &url], "there is no public key\nhint: ");
    assert_eq!((stored(&world).as_str(), world.read("home/ran").as_str()), ("", ""));
    assert_eq!(world.does(&["list"]), "No tracked scripts\n");
}

#[test]
fn an_older_signature_does_not_bring_an_older_script_back() {
    let world = world();
    let url = publish(&world, "let a = 1;\n");
    world.does(&["add", &url]);
    // As if it had been signed a day later.
    let state = world.state();
    let line = state.lines().find(|it| it.starts_with("signed = ")).expect("it is dated");
    let secs: i64 = line.trim_start_matches("signed = ").parse().expect("a number");
    world.configure(&state.replace(line, &format!("signed = {}", secs + 86_400)));
    publish(&world, "let a = 0;\n");
    world.refuses(&["update"], "web.rhai`: it was signed before the one that is here");
    assert_eq!(stored(&world), "let a = 1;\n");
}

#[test]
fn a_pinned_script_never_changes() {
    let world = world();
    world.configure("");
    world.write("web/web.rhai", "let a = 1;\n");
    let url = format!("{}/web.rhai", world.url);
    let out = world.run(&["add", &url, "--sha256", &"0".repeat(64)]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let real = said.split("its sha256 is ").nth(1).expect("it says so")[..64].to_owned();
    world.does(&["add", &url, "--sha256", &real]);
    assert_eq!(stored(&world), "let a = 1;\n");
    world.write("web/web.rhai", "let a = 2;\n");
    assert_eq!(world.does(&["update"]), format!("  {url}: up to date\n"));
    assert_eq!(stored(&world), "let a = 1;\n");
    assert!(world.does(&["list"]).contains("(pinned, 20"));

    // Another URL cannot have its place, but one of its own, wherever that is.
    world.write("web/a/web.rhai", "let a = 1;\n");
    let other = format!("{}/a/web.rhai", world.url);
    world.refuses(&["add", &other, "--sha256", &real], "web.rhai` is there\nhint: it comes from `");
    let place = world.path("home/cfg/other.rhai").display().to_string();
    world.does(&["add", &other, &place, "--sha256", &real]);
    assert_eq!(world.read("home/cfg/other.rhai"), "let a = 1;\n");
}

#[test]
fn what_needs_a_server_waits_for_one() {
    let world = world();
    let url = publish(&world, "ASKS\n");
    let said = world.does(&["add", &url]);
    assert!(said.contains("it runs as soon as there is a server"), "{said}");
    assert_eq!(world.does(&["update"]), format!("  {url}: waits for a server\n"));
    world.write("home/server", "");
    assert_eq!(world.does(&["update"]), format!("  {url}: updated\n"));
    assert_eq!(world.does(&["update"]), format!("  {url}: up to date\n"));
    assert_eq!(world.read("home/ran"), "ASKS\nASKS\nASKS\n");
}

#[test]
fn what_is_removed_is_forgotten_with_its_file_unless_somebody_has_changed_it() {
    let world = world();
    let url = publish(&world, "let a = 1;\n");
    world.does(&["add", &url]);
    assert_eq!(world.answers(&["list"])[0]["url"], json!(url));
    assert_eq!(world.does(&["remove", &url]), format!("Removed script: {url}\n"));
    assert!(!world.path("home/cfg/zinit/scripts/web.rhai").exists());
    assert_eq!(world.answers(&["list"]), json!([]));
    assert_eq!(world.does(&["remove", &url]), format!("Not tracked: {url}\n"));

    world.does(&["add", &url]);
    world.write("home/cfg/zinit/scripts/web.rhai", "mine\n");
    assert_eq!(world.answers(&["remove", &url])["file_removed"], json!(false));
    assert_eq!(stored(&world), "mine\n");
}

#[test]
fn what_zinit_0_3_5_tracked_is_fetched_again_and_must_be_signed() {
    let world = world();
    let url = publish(&world, "let a = 1;\n");
    let path = world.path("home/cfg/zinit/scripts/web.rhai").display().to_string();
    world.configure(&format!(
        "zinit_commit = \"abc\"\npublic_key = \"{}\"\n\n[[scripts]]\nurl = \"{url}\"\nmd5 = \"00\"\n\
         path = \"{path}\"\n",
        world.public
    ));
    assert_eq!(world.does(&["update"]), format!("  {url}: updated\n"));
    assert_eq!(stored(&world), "let a = 1;\n");
    assert!(world.state().contains("zinit_commit = \"abc\""));
}

#[test]
fn a_url_names_a_script() {
    let world = world();
    for url in ["http://a/web", "http://a/.rhai", "http://a/a%20b.rhai", "http://a/"] {
        world.refuses(&["add", url], "is no name of a script\nhint: it ends in `NAME.rhai`");
    }
}

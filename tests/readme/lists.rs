//! What the README lists is what there is, in both directions.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use zinit_host::engine::{self, Words};
use zinit_host::hooks::HOOKS;
use zinit_host::interrupt::Interrupt;
use zinit_host::native::Session;
use zinit_host::spec::{KEYS, PROXY};
use zinit_host::state::State;
use zinit_host::words::{Word, words};
use zinit_tests::daemon::Home;

use crate::read;

type Names = BTreeSet<String>;

/// The text below a heading, without blocks, up to the next heading of its level or a higher one.
fn section(heading: &str) -> String {
    let readme: String = read("README.md").split("```").step_by(2).collect();
    let (_, rest) = readme.split_once(heading).unwrap_or_else(|| panic!("there is no {heading}"));
    let level = |line: &str| line.bytes().take_while(|it| *it == b'#').count();
    let ends = |line: &&str| (1..=level(heading)).contains(&level(line));
    let lines = rest.lines().take_while(|it| !ends(it));
    lines.flat_map(|it| [it, "\n"]).collect()
}

/// What stands between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The first spans of the rows of the tables in a section.
fn rows(heading: &str) -> Names {
    let section = section(heading);
    let rows = section.lines().filter(|it| it.starts_with("| `"));
    rows.filter_map(|it| spans(it).next().map(str::to_owned)).collect()
}

/// The calls among the spans.
fn calls(text: &str) -> Names {
    let is_name = |it: char| it.is_ascii_lowercase() || it == '_' || it == '.';
    let is_call = |it: &&str| {
        it.split_once('(').is_some_and(|(name, rest)| {
            !name.is_empty() && name.chars().all(is_name) && rest.ends_with(')')
        })
    };
    spans(text).filter(is_call).map(str::to_owned).collect()
}

#[track_caller]
fn same(readme: &Names, real: &Names) {
    let missing: Vec<_> = real.difference(readme).collect();
    let invented: Vec<_> = readme.difference(real).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "missing {missing:?}, invented {invented:?}"
    );
}

#[test]
fn the_functions_and_methods_are_those_of_the_engine() {
    let interrupt = Interrupt::new().expect("a descriptor");
    let all = engine::on_deep_stack(|| {
        words(&engine::script(&Session::new(Path::new("/nowhere"), &interrupt), Words::All))
    });
    let promised = [
        "zinit",
        "zinit/builder",
        "zinit/health",
        "zinit/limits",
        "zinit/shell",
        "xinit",
        "xinit/builder",
        "xinit/service",
    ];
    let written = |it: Word| match &it.of {
        Some(_) => format!(".{}({})", it.name, it.params.join(", ")),
        None => it.signature(),
    };
    let all = all.expect("no panic").into_iter();
    let real = all.filter(|it| promised.contains(&it.module.as_str())).map(written).collect();
    same(&calls(&section("## Scripts")), &real);
}

#[test]
fn the_hooks_are_those_of_the_policy() {
    let arity = |it: &String| {
        let (name, params) = it.trim_end_matches(')').split_once('(').expect("it is a call");
        format!("{name}/{}", params.split(", ").count())
    };
    let section = section("### Hooks");
    let rows = section.lines().filter(|it| it.starts_with("| `"));
    // What a hook may answer stands in the second column, in the same type.
    let calls = rows.flat_map(|it| spans(it.split(" | ").next().unwrap_or_default()));
    let readme = calls.map(|it| arity(&it.to_owned())).collect();
    let real = HOOKS.iter().map(|it| format!("{}/{}", it.name, it.params.len())).collect();
    same(&readme, &real);
}

#[test]
fn the_states_are_those_of_services() {
    let states = [
        State::Stopped,
        State::Blocked,
        State::Spawned,
        State::Running,
        State::Stopping { step: 0 },
        State::Backoff,
        State::Success,
        State::Failed,
    ];
    same(&rows("### States"), &states.iter().map(|it| it.word().to_owned()).collect());
}

#[test]
fn the_keys_are_those_of_a_service_file_and_the_methods_those_of_the_server() {
    let home = Home::new().service("web", "exec: sleep 1000\n").start();
    let keys = home.ask("service.get", json!(["web"]));
    let keys: Names = keys.as_object().expect("a map").keys().cloned().collect();
    let mut listed = rows("## Services");
    listed.retain(|it| !rows("### States").contains(it));
    let of_proxies = rows("### On demand");
    listed.retain(|it| !of_proxies.contains(it));
    same(&listed, &keys);
    let table = KEYS.iter().map(|it| it.name.to_owned()).filter(|it| it != "signal");
    same(&listed, &table.collect());

    let proxy = PROXY.iter().map(|it| it.name.to_owned()).filter(|it| it != "service");
    same(&of_proxies, &proxy.collect());

    let described = home.ask("rpc.discover", json!([]));
    let methods = described["methods"].as_array().expect("a list").iter();
    let methods = methods.map(|it| it["name"].as_str().expect("a name").to_owned()).collect();
    let section = section("## RPC");
    let rows = section.lines().filter(|it| it.starts_with("| `"));
    let listed = rows.flat_map(|row| {
        let mut words = spans(row);
        let noun = words.next().expect("a row begins with one");
        words.map(|verb| format!("{noun}{verb}")).collect::<Vec<_>>()
    });
    same(&listed.collect(), &methods);
}

#[test]
fn the_commands_and_exit_codes_are_those_of_the_help() {
    let help = Home::new().zinit(["--help"]);
    let (_, rest) = help.split_once("Commands:\n").expect("it lists the commands");
    let lines = rest.lines().take_while(|it| !it.is_empty());
    let real = lines.filter_map(|it| it.split_whitespace().next().map(str::to_owned)).collect();
    let listed = rows("## Commands");
    let name =
        |it: &String| it.split(' ').nth(1).filter(|it| !it.starts_with('-')).map(str::to_owned);
    same(&listed.iter().filter_map(name).collect(), &real);

    let section = section("## Commands");
    let (_, table) = section.split_once("| exit code | meaning |\n|---|---|\n").expect("a table");
    let row = |it: &str| it.trim_matches(['|', ' ']).split(" | ").next().map(str::to_owned);
    let codes: Names = table.lines().map_while(|it| row(it).filter(|it| !it.is_empty())).collect();
    let (_, told) = help.split_once("Exit codes: ").expect("it tells the exit codes");
    let told = told.split(", ").filter_map(|it| it.split_whitespace().next().map(str::to_owned));
    same(&codes, &told.collect());
}

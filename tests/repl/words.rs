//! Completion by Tab: one source, the engine's own metadata.

#![expect(clippy::disallowed_methods, reason = "how long it takes is printed")]

use std::time::Instant;

use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

use crate::{alone, served};

/// Types this, presses Tab, and waits for each of these.
fn completes(screen: &Screen, text: &str, parts: &[&str]) {
    screen.prompts().enters("/clear").prompts().says(text).shows(text).presses("Tab");
    for part in parts {
        screen.shows(part);
    }
    leaves(screen);
}

/// Gives up what is typed, and the menu.
fn leaves(screen: &Screen) {
    // The first one closes the menu.
    screen.presses("Escape").presses("C-c").until("an empty line", |it| {
        it.presses("C-c");
        let seen = it.text();
        seen.trim_end().lines().last().is_some_and(|it| it.trim_end().ends_with('>'))
    });
    screen.enters("").prompts();
}

#[test]
fn functions_complete_with_their_signature_and_what_they_do() {
    let (_home, screen) = alone();
    completes(&screen, "zinit_sta", &["zinit_start", "zinit_status_all", "zinit_stats"]);
    completes(&screen, "let a = zinit_is_ru", &["zinit_is_running", "name"]);
}

#[test]
fn a_single_word_is_written_out() {
    let (_home, screen) = alone();
    screen.says("zinit_is_runn").shows("zinit_is_runn").presses("Tab").shows("> zinit_is_running");
}

#[test]
fn methods_complete_after_a_dot_by_the_type_before_it() {
    let (_home, screen) = alone();
    completes(&screen, "zinit_service(\"a\").test_t", &["test_tcp"]);
    completes(&screen, "zinit_service(\"a\").exec(\"x\").aft", &["after"]);
    screen.runs("let front = xinit_proxy_new(); let web = zinit_service_new(); let word = \"a\"");
    // Others have methods that begin so as well, or have it in their names.
    for (text, theirs, of_others) in [
        ("web.lim", &["limit"][..], &["split", "listen"][..]),
        ("web.max_", &["max_restarts"], &["max_connections", "max_waiting"]),
        ("front.max_", &["max_connections", "max_waiting"], &["max_restarts"]),
        ("front.li", &["listen"], &["limit", "split"]),
        ("word.s", &["split", "starts_with"], &["sort", "stop_cmd", "socket_mode"]),
        ("[1, 2].s", &["sort", "splice"], &["starts_with", "stop_cmd", "socket_mode"]),
    ] {
        screen.prompts().enters("/clear").prompts().says(text).shows(text).presses("Tab");
        theirs.iter().for_each(|it| {
            screen.shows(it);
        });
        of_others.iter().for_each(|it| {
            screen.lacks(it);
        });
        leaves(&screen);
    }
}

#[test]
fn names_of_services_complete_in_strings() {
    let (_home, screen) = served();
    completes(&screen, "zinit_status(\"w", &["web", "worker"]);
    screen.says("zinit_status(\"wo").presses("Tab").shows("zinit_status(\"worker");
}

#[test]
fn variables_and_keys_of_maps_complete() {
    let (_home, screen) = alone();
    screen.runs("let settings = #{ colour: 1, columns: 42 }");
    completes(&screen, "sett", &["settings"]);
    completes(&screen, "settings.co", &["colour", "columns"]);
    screen.says("settings.colum").presses("Tab").shows("settings.columns");
    screen.presses("Enter").shows("=> 42");
}

#[test]
fn own_functions_complete() {
    let (_home, screen) = alone();
    screen.runs("fn homegrown(a, b) { a + b }");
    completes(&screen, "homeg", &["homegrown"]);
}

#[test]
fn files_complete() {
    let home = Home::new();
    home.write("script_one.rhai", "40 + 2\n");
    let screen = Screen::zinit(&home, 80, 24);
    screen.says("/load script_o").presses("Tab").shows("/load script_one.rhai");
    screen.presses("Enter").shows("=> 42");
}

#[test]
fn files_complete_in_strings() {
    let home = Home::new();
    home.write("script_one.rhai", "fn deep(n) { n * 2 }\n");
    home.write("words_of_mine/two.txt", "text\n");
    let screen = Screen::zinit(&home, 80, 24);
    screen.says("open_file(\"words_o").shows("words_o").presses("Tab");
    screen.shows("open_file(\"words_of_mine/").says("tw").shows("mine/tw").presses("Tab");
    screen.shows("open_file(\"words_of_mine/two.txt\"").presses("C-c").prompts();
    screen.says("import \"script_o").shows("script_o").presses("Tab");
    screen.shows("import \"script_one\"").says(" as one").presses("Enter").prompts();
    assert_eq!(screen.runs("one::deep(21)"), "=> 42");
}

#[test]
fn names_of_proxies_and_of_signals_complete_in_strings() {
    let (home, screen) = served();
    let socket = home.root.join("front.sock").display().to_string();
    let backend = home.root.join("back.sock").display().to_string();
    home.zinit([
        "xinit",
        "add",
        "frontdoor",
        "--listen",
        &socket,
        "--service",
        "web",
        "--backend",
        &backend,
    ]);
    screen.until("the next prompts know of it", |it| {
        it.enters("").prompts().enters("/clear").prompts();
        it.says("xinit_status(\"front").shows("front").presses("Tab").presses("C-e");
        let line = it.text();
        it.presses("C-c").prompts();
        line.contains("xinit_status(\"frontdoor\")")
    });
    screen.enters("/clear").prompts();
    screen.says("zinit_kill(\"web\", \"SIGUS").shows("SIGUS").presses("Tab");
    screen.shows("SIGUSR1").shows("SIGUSR2");
    leaves(&screen);
    screen.says("zinit_kill(\"web\", \"SIGTER").shows("SIGTER").presses("Tab");
    screen.shows("zinit_kill(\"web\", \"SIGTERM\")").presses("C-c").prompts();
}

#[test]
fn commands_of_the_shell_complete() {
    let (_home, screen) = alone();
    completes(&screen, "/h", &["/help", "/history"]);
    screen.says("/hist").presses("Tab").shows("> /history");
}

#[test]
fn a_name_completes_with_a_thousand_services() {
    let (home, count) = (Home::new(), 1_000);
    for number in 0..count {
        let yaml = "exec: sleep 1000\nstatus: stop\n";
        home.write(&format!("cfg/zinit/many-{number}.yaml"), yaml);
    }
    let home = home.start();
    home.until("all are known", || {
        home.ask("service.list", serde_json::json!([]))
            .as_array()
            .is_some_and(|it| it.len() == count)
    });
    let screen = Screen::zinit(&home, 80, 24);
    screen.says("zinit_status(\"many-99").shows("many-99");
    let begin = Instant::now();
    screen.presses("Tab").shows("many-990");
    println!("completion with {count} services: {:?}, as the screen has it", begin.elapsed());
    screen.presses("C-c");
}

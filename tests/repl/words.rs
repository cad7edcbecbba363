//! Completion by Tab: one source, the engine's own metadata.

use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

use crate::{alone, served};

/// Types this, presses Tab, and waits for each of these.
fn completes(screen: &Screen, text: &str, parts: &[&str]) {
    screen.prompts().enters("/clear").prompts().says(text).shows(text).presses("Tab");
    for part in parts {
        screen.shows(part);
    }
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
    screen.says("zinit_status(\"many-99").presses("Tab").shows("many-990").presses("C-c");
}

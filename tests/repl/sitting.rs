//! Texts that are run, and what they leave for the next ones.

use crate::{alone, served};
use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

#[test]
fn variables_and_functions_stay_over_lines_and_errors() {
    let (_home, screen) = alone();
    assert_eq!(screen.runs("let x = 5"), "");
    assert_eq!(screen.runs("fn twice(n) { n * 2 }"), "");
    assert!(screen.runs("x += 1; throw \"oh\"; x = 0").contains("oh"));
    assert!(screen.runs("let = 1").contains("syntax error"));
    assert_eq!(screen.runs("twice(x)"), "=> 12");
}

#[test]
fn a_block_goes_on_until_it_is_closed() {
    let (_home, screen) = alone();
    screen.enters("fn sum(a, b) {").shows("   ...").enters("a + b").enters("}").prompts();
    assert_eq!(screen.runs("sum(40, 2)"), "=> 42");
}

#[test]
fn a_brace_in_a_string_is_no_block() {
    let (_home, screen) = alone();
    assert_eq!(screen.runs("\"{\".len() + '['.to_string().len()"), "=> 2");
    assert_eq!(screen.runs("40 + 2 // {"), "=> 42");
}

#[test]
fn what_is_printed_appears_at_once() {
    let (_home, screen) = alone();
    screen.enters("print(\"now \" + 1); sleep(600)").shows("now 1").presses("C-c");
    screen.shows("interrupted").prompts();
}

#[test]
fn a_long_output_comes_to_its_end() {
    let (_home, screen) = alone();
    screen.enters("for i in 0..3000 { print(`line ${i}`) }").shows("line 2999").prompts();
    let all = screen.all();
    assert!((0..3000).all(|it| all.contains(&format!("line {it}\n"))), "lines are missing");
}

#[test]
fn an_error_shows_its_place_and_what_may_have_been_meant() {
    let (_home, screen) = alone();
    let said = screen.runs("let answer = 1 + zinit_lst()");
    assert!(said.contains("let answer = 1 + zinit_lst()"), "{said}");
    let caret = said.lines().find(|it| it.contains('^')).expect("the place is underlined");
    assert!(caret.find('^') > Some(15), "{said}");
    assert!(said.contains("did you mean") && said.contains("zinit_list"), "{said}");
}

#[test]
fn the_right_of_the_prompt_tells_how_long_the_last_text_took() {
    let (_home, screen) = alone();
    screen.runs("sleep_ms(1500)");
    let last = |it: &Screen| it.text().trim_end().lines().last().unwrap_or_default().to_owned();
    screen.until("a duration", |it| {
        let line = last(it);
        let right = line.split_whitespace().last().unwrap_or_default();
        let secs = right.strip_suffix('s').and_then(|it| it.parse::<f64>().ok());
        line.starts_with("zinit(") && secs.is_some_and(|it| it >= 1.5)
    });
}

#[test]
fn what_is_typed_while_a_text_runs_is_not_lost() {
    let (_home, screen) = alone();
    screen.enters("print(\"begun \" + 1); sleep_ms(700)").shows("begun 1");
    screen.enters("40 + 2").shows("=> 42").prompts();
}

#[test]
fn a_resize_while_a_line_is_written_or_a_text_runs_does_no_harm() {
    let (_home, screen) = alone();
    screen.says("let resized = \"a line that goes on and on\"; ").resizes(40, 12);
    screen.says("resized.len()").resizes(120, 40).shows("resized.len()");
    screen.presses("Enter").shows("=> 26").prompts();
    screen.enters("print(\"begun \" + 1); sleep_ms(500)").shows("begun 1");
    screen.resizes(60, 20).prompts();
    assert_eq!(screen.runs("40 + 2"), "=> 42");
}

#[test]
fn scripts_find_the_arguments() {
    let home = Home::new();
    let screen = Screen::new(&home, 80, 24);
    screen.enters("zinit repl -- one two").prompts();
    assert_eq!(screen.runs("args[1]").replace('"', ""), "=> two");
}

#[test]
fn services_are_managed_from_it() {
    let (home, screen) = served();
    let before = home.status("web").pid;
    assert!(!screen.runs("zinit_stop(\"web\")").contains("error"), "{}", screen.text());
    home.until("it is stopped", || home.status("web").pid == 0);
    assert!(!screen.runs("zinit_start(\"web\")").contains("error"), "{}", screen.text());
    home.up("web");
    assert_ne!(home.status("web").pid, before);
    assert_eq!(screen.runs("zinit_is_running(\"web\")"), "=> true");
    assert!(screen.runs("zinit_stop(\"wbe\")").contains("did you mean `web`?"));
}

//! What completion offers, and what it inserts.

use super::super::types::tests::lexicon;
use super::*;

/// The line with `|` where the cursor stands, and what may be inserted there.
fn inserted(line: &str) -> Vec<String> {
    meant(line).all.into_iter().map(|it| it.insert).collect()
}

fn meant(line: &str) -> Meant {
    let pos = line.find('|').expect("a cursor");
    complete(&lexicon(), &line.replacen('|', "", 1), pos)
}

/// What the line becomes when the only candidate is taken.
fn completed(line: &str) -> String {
    let meant = meant(line);
    let [only] = &meant.all[..] else { panic!("{line}: {:?}", meant.all) };
    let (said, rest) = line.split_once('|').expect("a cursor");
    format!("{}{}{rest}", &said[..meant.begin], only.insert)
}

#[test]
fn functions_are_completed_with_their_parentheses() {
    assert_eq!(completed("zinit_k|"), "zinit_kill(");
    assert_eq!(completed("let a = zinit_l|"), "let a = zinit_list()");
    assert_eq!(completed("zinit_k|(\"a\")"), "zinit_kill(\"a\")");
    assert_eq!(completed("tw|"), "twice(");
    assert_eq!(completed("host::t|"), "host::tcp(");
    assert_eq!(completed("ho|"), "host::");
    assert_eq!(inserted("zinit_st|"), ["zinit_status(", "zinit_status_all()", "zinit_stop("]);
    assert!(!inserted("|").contains(&"tcp(".to_owned()), "it needs `host::`");
}

#[test]
fn a_candidate_tells_of_itself() {
    let all = meant("zinit_k|").all;
    assert_eq!(all[0].name, "zinit_kill");
    assert_eq!(all[0].help, "(name, signal) What `zinit_kill` does: `one` or `other`.");
}

#[test]
fn variables_and_keywords_are_completed() {
    assert_eq!(inserted("st|")[0], "status");
    assert_eq!(completed("swi|"), "switch");
    assert_eq!(completed("let counter = 1; cou|"), "let counter = 1; counter");
}

#[test]
fn after_a_dot_stand_the_methods_of_the_type() {
    assert_eq!(inserted("web.|"), ["env(", "exec(", "log(", "register()"]);
    assert_eq!(
        completed("new_service(\"x\").exec(\"y\").reg|"),
        "new_service(\"x\").exec(\"y\").register()"
    );
    assert_eq!(completed("\"a\".|"), "\"a\".to_upper()");
    assert_eq!(inserted("status.|"), ["name", "pid", "keys()"]);
    assert_eq!(completed("all[0].st|"), "all[0].state");
    assert_eq!(completed("nothing.back|"), "nothing.backend(");
    assert!(inserted("0..z|").contains(&"zinit_list()".to_owned()));
}

#[test]
fn keys_of_maps_are_completed_in_brackets() {
    assert_eq!(completed("status[\"odd|"), "status[\"odd key\"]");
    assert_eq!(completed("status[\"na|\"]"), "status[\"name\"]");
    assert_eq!(completed("all[0][\"st|"), "all[0][\"state\"]");
}

#[test]
fn strings_are_completed_by_what_takes_them() {
    assert_eq!(inserted("zinit_stop(\"we|"), ["web\")", "web-2\")"]);
    assert_eq!(inserted("zinit_stop(\"we|\")"), ["web", "web-2"]);
    assert_eq!(completed("zinit_kill(\"d|"), "zinit_kill(\"db\"");
    assert_eq!(completed("zinit_kill(\"db\", \"SIGTE|"), "zinit_kill(\"db\", \"SIGTERM\")");
    assert_eq!(completed("zinit_stop([\"d|"), "zinit_stop([\"db\"");
    assert_eq!(completed("xinit_status(\"f|"), "xinit_status(\"front\")");
    assert_eq!(completed("zinit_stop(`d|"), "zinit_stop(`db`)");
    assert_eq!(completed("web.log(\"oth|"), "web.log(\"other\")");
}

#[test]
fn nothing_is_completed_in_comments_and_other_strings() {
    for line in
        ["// zin|", "/* zin|", "\"zin|", "print(\"zin|", "new_service(\"we|", "12|", "\"a\"|"]
    {
        assert!(inserted(line).is_empty(), "{line}: {:?}", inserted(line));
    }
    assert_eq!(completed("`a ${zinit_k|"), "`a ${zinit_kill(");
}

#[test]
fn commands_and_their_arguments_are_completed() {
    assert_eq!(completed("/hel|"), "/help");
    assert_eq!(completed("/loa|"), "/load ");
    assert_eq!(completed("/doc zinit_k|"), "/doc zinit_kill");
    assert_eq!(inserted("/edit |"), ["emacs", "vi"]);
    assert_eq!(completed("/time zinit_k|"), "/time zinit_kill(");
    assert_eq!(completed("/functions xinit/|"), "/functions xinit/builder");
    assert!(inserted("/|").len() > 10);
    assert!(inserted("/nosuch a|").is_empty());
}

#[test]
fn what_nothing_begins_with_is_looked_for_inside_and_near() {
    assert_eq!(completed("kill|"), "zinit_kill(");
    assert_eq!(completed("zinit_klil|"), "zinit_kill(");
    assert_eq!(completed("ZINIT_K|"), "zinit_kill(");
    assert_eq!(completed("/hlep|"), "/help");
    assert!(inserted("qqqqqqqq|").is_empty());
}

#[test]
fn files_and_modules_are_completed() {
    let dir = tempdir();
    std::fs::create_dir(dir.join("sub")).expect("a directory");
    std::fs::write(dir.join("one.rhai"), "").expect("a file");
    std::fs::write(dir.join(".hidden"), "").expect("a file");
    let dir = dir.to_str().expect("a path");
    assert_eq!(
        inserted(&format!("/load {dir}/|")),
        [format!("{dir}/one.rhai"), format!("{dir}/sub/")]
    );
    assert_eq!(completed(&format!("import \"{dir}/o|")), format!("import \"{dir}/one\""));
    assert_eq!(completed(&format!("f(\"{dir}/o|")), format!("f(\"{dir}/one.rhai\""));
    assert_eq!(completed(&format!("/load {dir}/.h|")), format!("/load {dir}/.hidden"));
    assert_eq!(completed("import \"xinit/b|"), "import \"xinit/builder\"");
    std::fs::remove_dir_all(dir).expect("it is removed");
}

fn tempdir() -> std::path::PathBuf {
    nix::unistd::mkdtemp(&std::env::temp_dir().join("complete-XXXXXX")).expect("a directory")
}

#[test]
fn names_of_files_are_escaped_and_those_that_would_do_something_are_not_offered() {
    let dir = tempdir();
    for name in ["say \"hi\".txt", "back\\slash", "tick`", "title\u{1b}]0;err\u{7}", "lines\n"] {
        std::fs::write(dir.join(name), "").expect("a file");
    }
    let dir = dir.to_str().expect("a path");
    assert_eq!(completed(&format!("f(\"{dir}/s|")), format!("f(\"{dir}/say \\\"hi\\\".txt\""));
    assert_eq!(
        completed(&format!("f(\"{dir}/say \\\"h|")),
        format!("f(\"{dir}/say \\\"hi\\\".txt\"")
    );
    assert_eq!(completed(&format!("f(\"{dir}/b|")), format!("f(\"{dir}/back\\\\slash\""));
    assert_eq!(completed(&format!("f(`{dir}/t|")), format!("f(`{dir}/tick```"));
    assert_eq!(completed(&format!("/load {dir}/s|")), format!("/load {dir}/say \"hi\".txt"));
    assert_eq!(inserted(&format!("/load {dir}/|")).len(), 3);
    assert_eq!(inserted(&format!("f(\"{dir}/|")).len(), 3);
    std::fs::remove_dir_all(dir).expect("it is removed");
}

#[test]
fn keys_are_escaped_and_what_is_told_of_them_does_nothing() {
    let mut lexicon = lexicon();
    let keys = ["say \"hi\"", "title\u{1b}]0;err\u{7}"].map(str::to_owned).to_vec();
    lexicon.variables.iter_mut().find(|it| it.name == "status").expect("a map").keys = keys;
    lexicon.own[0].doc = "Clears \u{1b}[2J.".to_owned();
    let name = lexicon.own[0].name.clone();
    let line = "status[\"";
    let all = complete(&lexicon, line, line.len()).all;
    let inserted: Vec<&str> = all.iter().map(|it| it.insert.as_str()).collect();
    assert_eq!(inserted, ["say \\\"hi\\\"\"]"]);
    let shared = Shared::default();
    *shared.open() = lexicon;
    let result = Words(shared).complete(&name, name.len());
    let told =
        result.suggestions().iter().filter_map(|it| it.description.as_deref()).collect::<String>();
    assert!(told.contains("Clears \\u{1b}[2J."), "{told}");
}

#[test]
fn in_a_very_long_text_nothing_is_offered() {
    let text = format!("{}zinit_k", "1;\n".repeat(LONG / 3));
    assert!(complete(&lexicon(), &text, text.len()).all.is_empty());
}

#[test]
fn every_keyword_is_one() {
    assert!(KEYWORDS.iter().all(|it| is_keyword(it)));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is printed")]
fn of_a_thousand_services_those_are_offered_that_fit() {
    let mut lexicon = lexicon();
    lexicon.services = (0..1_000).map(|it| format!("service-{it:04}")).collect();
    for (line, all) in [("serv", 1_000), ("", 1_000), ("0001", 1), ("srevice-0001", 1)] {
        let line = &format!("zinit_stop(\"{line}");
        let begun = std::time::Instant::now();
        let count = complete(&lexicon, line, line.len()).all.len();
        println!("{line}: {count} in {:?}", begun.elapsed());
        assert_eq!(count, all, "{line}");
    }
}

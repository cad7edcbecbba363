//! The `zinit` command where no server is: scripts, errors, exit codes.

#![expect(clippy::disallowed_methods, reason = "it runs the command and takes the time")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A directory of its own for one test, with these files in it.
struct Room(PathBuf);

impl Room {
    fn with(files: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let room = std::env::temp_dir().join(format!("zinit-cli-{}-{count}", std::process::id()));
        fs::create_dir_all(room.join("lib")).expect("a directory");
        for (name, text) in files {
            fs::write(room.join(name), text).expect("a file");
        }
        Self(room)
    }

    fn zinit(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zinit"));
        command
            .args(args)
            .current_dir(&self.0)
            .env("ZINIT_HOME", "/nowhere")
            .env_remove("NO_COLOR");
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        told(self.zinit(args).output().expect("zinit runs"))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn told(output: Output) -> (i32, String, String) {
    let text = |it| String::from_utf8(it).expect("it prints text");
    (output.status.code().expect("it exits"), text(output.stdout), text(output.stderr))
}

/// Runs it and compares everything that it says.
#[track_caller]
fn check(room: &Room, args: &[&str], code: i32, out: &str, err: &str) {
    assert_eq!(room.run(args), (code, out.to_owned(), err.to_owned()));
}

#[test]
fn the_value_that_a_script_leaves_is_shown_as_rhai_writes_it() {
    let room = Room::with(&[]);
    check(&room, &["-c", "1 + 1"], 0, "=> 2\n", "");
    check(
        &room,
        &["-c", "#{ name: \"web\", pid: 1 }"],
        0,
        "=> #{\"name\": \"web\", \"pid\": 1}\n",
        "",
    );
    check(&room, &["-c", "print(\"hi\")"], 0, "hi\n", "");
    check(
        &room,
        &["-c", "new_service(\"a\").exec(\"b\")"],
        0,
        "=> Service #{\"exec\": \"b\", \"name\": \"a\"}\n",
        "",
    );
}

#[test]
fn a_script_comes_from_standard_input_too() {
    let room = Room::with(&[]);
    let mut zinit = room.zinit(&["-i"]);
    let mut child = zinit.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("zinit runs");
    child.stdin.take().expect("a pipe").write_all(b"let x = 20;\nx * 2").expect("it reads");
    assert_eq!(told(child.wait_with_output().expect("it ends")).1, "=> 40\n");
}

#[test]
fn a_file_gets_its_arguments_and_imports_what_lies_beside_it() {
    let room = Room::with(&[
        (
            "main.rhai",
            "#!/usr/bin/env zinit\nimport \"lib/double\" as d;\nprint(d::twice(args.len));\nprint(args[1]);",
        ),
        ("lib/double.rhai", "import \"two\" as t;\nfn twice(x) { t::two() * x }"),
        ("lib/two.rhai", "fn two() { 2 }"),
    ]);
    check(&room, &["main.rhai", "a", "--b", "c"], 0, "6\n--b\n", "");
    check(&room, &["run", "main.rhai", "a", "--b"], 0, "4\n--b\n", "");
}

#[test]
fn a_syntax_error_shows_the_line_and_a_caret() {
    let room = Room::with(&[("bad.rhai", "let x = 1;\nlet = 5;\n")]);
    let said = "error: syntax error: expecting name of a variable\n  --> bad.rhai:2:5\n 2 | let = 5;\n   |     ^\n";
    check(&room, &["bad.rhai"], 1, "", said);
}

#[test]
fn an_error_while_running_shows_where_the_user_went_wrong_not_where_the_library_noticed() {
    let room = Room::with(&[
        ("a.rhai", "fn up(name) {\n    new_service(name).register();\n}\n\nup(\"\");\n"),
        ("b.rhai", "import \"lib/c\" as c;\nc::crash();\n"),
        ("lib/c.rhai", "fn crash() {\n    let list = [1];\n    list[3]\n}\n"),
    ]);
    let said = "error: cannot register a service that has no name\n  --> a.rhai:2:23\n 2 |     new_service(name).register();\n   |                       ^^^^^^^^\nhint: say `new_service(\"web\")`, or `.name(\"web\")` before `.register()`\n";
    check(&room, &["a.rhai"], 1, "", said);
    let said = "error: array index 3 out of bounds: only 1 element in array\n  --> lib/c.rhai:3:10\n 3 |     list[3]\n   |          ^\n";
    check(&room, &["b.rhai"], 1, "", said);
}

#[test]
fn a_misspelt_function_is_told_its_right_name() {
    let room = Room::with(&[]);
    let said = "error: there is no function `zinit_pign()`\n  --> -c:1:1\n 1 | zinit_pign()\n   | ^^^^^^^^^^\nhint: did you mean `zinit_ping`?\n";
    check(&room, &["-c", "zinit_pign()"], 1, "", said);
    let said = room.run(&["-c", "new_service(\"web\").exce(\"true\")"]).2;
    assert!(said.contains("no function `exce(Service, string)`"), "{said}");
    assert!(said.ends_with("hint: did you mean `exec`?\n"), "{said}");
}

#[test]
fn what_is_nearly_right_is_told_how_it_is_right() {
    let room = Room::with(&[("lib/own.rhai", "fn greet(name, often) { name }\ngreet(1);\n")]);
    let said = room.run(&["lib/own.rhai"]).2;
    assert!(
        said.starts_with("error: `greet` takes 2 parameters (name, often), and is given 1\n"),
        "{said}"
    );
    for (script, hint) in [
        ("fn shutter() { 1 } shuter()", "did you mean `shutter`?"),
        ("[1].pussh(2)", "did you mean `push`?"),
        ("let counter = 1; print(conter)", "did you mean `counter`?"),
        ("fn f() { outer } let outer = 1; f()", "a function sees its parameters"),
        ("import \"zinit/wiat\" as w;", "did you mean `zinit/wait`?"),
        ("wait::wait_up(\"a\", 1)", "`import \"zinit/wait\" as wait;` brings it"),
        ("\"a\".leng", "did you mean `len`?"),
    ] {
        let (code, _, said) = room.run(&["-c", script]);
        assert!(code == 1 && said.contains(hint), "{script}: {said}");
    }
    let (_, _, said) = room.run(&["--json", "-c", "1 + conter"]);
    let error: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(error["error"]["data"]["width"], 6, "{said}");
}

#[test]
fn the_reference_is_written_for_readers_programs_and_editors() {
    let room = Room::with(&[]);
    let (code, out, _) = room.run(&["doc"]);
    assert!(code == 0 && out.starts_with("# Functions\n\n## host\n"), "{out}");
    assert!(out.contains("\n### `Service.env(key, value)` → `Service`\n"), "{out}");
    let (_, out, _) = room.run(&["doc", "zinit_service_new"]);
    assert!(out.starts_with("### `zinit_service_new()` → `Service`\n\nA new service"), "{out}");
    let said = "error: there is no function `zinit_lst`\nhint: did you mean `zinit_list`?\n";
    check(&room, &["doc", "zinit_lst"], 1, "", said);
    let (_, out, _) = room.run(&["doc", "--format", "json"]);
    let all: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let env = all
        .as_array()
        .expect("a list")
        .iter()
        .find(|it| it["signature"] == "Service.env(key, value)");
    assert_eq!(env.expect("it is there")["returns"], "Service");
    let (_, out, _) = room.run(&["doc", "--format", "rhai-d"]);
    assert!(out.starts_with("module static;\n"), "{out}");
    assert!(out.contains("\nfn new_service(name: ?) -> Service;\n"), "{out}");
    assert!(out.contains("\nmodule host {\n"), "{out}");
    assert!(!out.contains("\nfn exit("), "the language server could not read it");
}

#[test]
fn a_script_is_a_program_that_can_be_called_from_anywhere() {
    use std::os::unix::fs::PermissionsExt;
    let room = Room::with(&[
        (
            "lib/tool",
            "#!/usr/bin/env zinit\nimport \"two\" as t;\nprint(args);\nexit(t::two(args.len));\n",
        ),
        ("lib/two.rhai", "fn two(n) {\n    if n > 1 { nothing() }\n    n + 2\n}\n"),
    ]);
    let tool = room.0.join("lib/tool");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("it is there");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_zinit"));
    let dir = program.parent().expect("a directory").display().to_string();
    let path = format!("{dir}:{}", std::env::var("PATH").unwrap_or_default());
    let call = |args: &[&str]| {
        let mut command = Command::new(&tool);
        command.args(args).current_dir("/").env("PATH", &path).env("ZINIT_HOME", "/nowhere");
        told(command.output().expect("it runs"))
    };
    assert_eq!(call(&["a"]), (3, "[\"a\"]\n".to_owned(), String::new()));
    let (code, _, err) = call(&["a", "b"]);
    assert_eq!(code, 1);
    let place = format!(
        "  --> {}:2:16\n 2 |     if n > 1 {{ nothing() }}\n",
        room.0.join("lib/two.rhai").display()
    );
    assert!(
        err.starts_with("error: there is no function `nothing()`\n") && err.contains(&place),
        "{err}"
    );
}

#[test]
fn modules_that_import_each_other_are_no_endless_loop() {
    let room = Room::with(&[("a.rhai", "import \"b\" as b;"), ("b.rhai", "import \"a\" as a;")]);
    let (code, _, said) = room.run(&["a.rhai"]);
    assert_eq!(code, 1);
    assert!(said.contains("imports itself"), "{said}");
}

#[test]
fn all_scripts_of_a_directory_run_in_order_and_one_failure_is_the_exit_code() {
    let room = Room::with(&[
        ("lib/2.rhai", "throw \"no\""),
        ("lib/1.rhai", "print(1)"),
        ("lib/3.rhai", "print(3)"),
        ("lib/notes.txt", "no script"),
    ]);
    let (code, out, err) = room.run(&["lib/"]);
    assert_eq!(out, "Running: lib/1.rhai\n1\nRunning: lib/2.rhai\nRunning: lib/3.rhai\n3\n");
    assert!(err.starts_with("error: no\n"), "{err}");
    assert_eq!(code, 1);
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let room = Room::with(&[]);
    let code = |args: &[&str]| room.run(args).0;
    assert_eq!(code(&["-c", "exit(7)"]), 7);
    assert_eq!(code(&["-c", "exit()"]), 0);
    assert_eq!(code(&["-c", "fn f() { exit(3); } try { f() } catch {}"]), 3);
    assert_eq!(code(&["-c", "throw \"no\""]), 1);
    assert_eq!(code(&["-c", "throw #{ code: \"timed_out\", message: \"late\" }"]), 4);
    assert_eq!(code(&["nothing.rhai"]), 1);
    assert_eq!(code(&["start"]), 2);
    assert_eq!(code(&["--frobnicate"]), 2);
    assert_eq!(code(&["lsit"]), 2);
    assert_eq!(code(&["list"]), 3);
    assert_eq!(code(&["-c", "zinit_list()"]), 3);
    assert_eq!(code(&[]), 0);
}

#[test]
fn where_no_server_answers_commands_and_scripts_say_so_in_one_line() {
    let room = Room::with(&[("a.rhai", "zinit_list();")]);
    let said =
        "error: no server answers at /nowhere/var/zinit.sock; `zinit server start` starts one\n";
    check(&room, &["list"], 3, "", said);
    check(&room, &["a.rhai"], 3, "", said);
    let caught = "try { zinit_ping() } catch (err) { print(err.code) }";
    check(&room, &["-c", caught], 0, "no_server\n", "");
}

#[test]
fn programs_get_their_refusals_as_json() {
    let (code, out, err) = Room::with(&[]).run(&["--json", "list"]);
    assert_eq!((code, out.as_str()), (3, ""));
    let error: serde_json::Value = serde_json::from_str(&err).expect("JSON");
    assert_eq!(error["error"]["code"], "no_server");
    assert_eq!(error["error"]["hint"], "`zinit server start` starts one");
}

#[test]
fn a_misspelt_command_is_told_its_right_name_and_a_missing_file_that_it_is_missing() {
    let room = Room::with(&[]);
    let said = "error: `lsit` is neither a command nor a script that is there\nhint: did you mean `zinit list`?\n";
    check(&room, &["lsit"], 2, "", said);
    check(&room, &["no.rhai"], 1, "", "error: there is no file no.rhai\n");
}

#[test]
fn files_are_checked_where_no_server_is_and_all_problems_are_told_at_once() {
    let room = Room::with(&[
        ("lib/web.yaml", "exec: sleep 1\nafter: [db]\n"),
        ("lib/typo.yaml", "exce: sleep 1\n"),
        ("lib/broken.yaml", "exec: [\n"),
    ]);
    let (code, out, err) = room.run(&["check", "lib"]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(out.contains("error: lib/typo.yaml:1:1: unknown key `exce`\n"), "{out}");
    assert!(out.contains("error: lib/broken.yaml:") && out.contains("hint: did you"), "{out}");
    assert!(out.contains("1 service is fine, 2 problems, "), "{out}");
    fs::remove_file(room.0.join("lib/typo.yaml")).expect("it is there");
    fs::remove_file(room.0.join("lib/broken.yaml")).expect("likewise");
    let (code, out, _) = room.run(&["--json", "check", "lib"]);
    let checked: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &checked["services"]), (0, &1.into()));
    assert_eq!(room.run(&["check", "nowhere"]).0, 1);
    let (code, out, _) = room.run(&["check", "--schema"]);
    let schema: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert!(code == 0 && schema["properties"]["exec"].is_object(), "{out}");
}

#[test]
fn scripts_are_checked_without_being_run_and_all_problems_are_told_at_once() {
    let files = [
        ("good.rhai", "#!/usr/bin/env zinit\nimport \"lib/b\" as b;\nprint(b::twice(args.len));\n"),
        (
            "bad.rhai",
            "#!/usr/bin/env zinit\nimport \"lib/b\" as b;\nif false { zinit_pign() }\nb::twcie(1);\n",
        ),
        ("lib/b.rhai", "fn twice(x) { x * 2 }\n"),
    ];
    let room = Room::with(&files);
    check(&room, &["check", "good.rhai"], 0, "2 scripts are fine\n", "");
    let (code, out, err) = room.run(&["check", "good.rhai", "bad.rhai", "none.rhai"]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let said = "error: there is no file none.rhai\n\
        error: bad.rhai:3:12: there is no function `zinit_pign`\n 3 | if false { zinit_pign() }\n   |            ^^^^^^^^^^\n\
        hint: did you mean `zinit_ping`?\n\
        error: bad.rhai:4:4: there is no function `twcie` in `b`\n 4 | b::twcie(1);\n   |    ^^^^^\n\
        hint: did you mean `b::twice`?\n2 scripts are fine, 3 problems\n";
    assert_eq!(out, said);
    let (code, out, _) = room.run(&["--json", "check", "bad.rhai"]);
    let checked: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let problem = &checked["problems"][0];
    assert_eq!((code, &checked["scripts"]), (1, &1.into()));
    assert_eq!((&problem["data"]["line"], &problem["data"]["column"]), (&3.into(), &12.into()));
    assert_eq!(problem["hint"], "did you mean `zinit_ping`?");
    assert_eq!(problem["data"]["width"], 10);
    let mut zinit = room.zinit(&["check", "../bad.rhai"]);
    let (code, out, _) = told(zinit.current_dir(room.0.join("lib")).output().expect("zinit runs"));
    assert_eq!(code, 1);
    assert!(
        out.contains("error: ../bad.rhai:4:4: ") && out.contains("1 script is fine, 2 "),
        "{out}"
    );
}

#[test]
fn a_directory_of_scripts_is_checked_as_such_and_a_policy_as_a_policy() {
    let room = Room::with(&[
        ("lib/a.rhai", "print(1);"),
        ("lib/b.rhai", "zinit_pign();"),
        ("policy.rhai", "fn gives_up(service, attempt) { service.atempts > 3 }\n"),
        ("mine.rhai", "fn gives_up(service, attempt) { sleep(1); true }\n"),
    ]);
    let (code, out, _) = room.run(&["check", "lib"]);
    assert_eq!(code, 1);
    assert!(
        out.contains("lib/b.rhai:1:1: ") && out.ends_with("1 script is fine, 1 problem\n"),
        "{out}"
    );
    let (code, out, _) = room.run(&["check", "policy.rhai", "lib/a.rhai"]);
    assert_eq!(code, 1);
    assert!(out.contains("nothing has a property `atempts`"), "{out}");
    assert!(out.ends_with("1 script is fine, 1 problem\n"), "{out}");
    let (code, out, _) = room.run(&["check", "mine.rhai"]);
    assert_eq!(code, 1);
    assert!(out.contains("mine.rhai:1:33: there is no function `sleep`"), "{out}");
}

#[test]
fn what_is_set_in_the_environment_is_there_for_the_rest_of_the_script() {
    let room = Room::with(&[]);
    let script = "set_env(\"A_B\", 5); [get_env(\"A_B\"), get_env(\"ZINIT_HOME\"), get_env(\"\")]";
    check(&room, &["-c", script], 0, "=> [\"5\", \"/nowhere\", ()]\n", "");
}

#[test]
fn a_long_chain_of_calls_inside_a_function_is_no_problem() {
    let chain = ".env(\"A\", \"b\")".repeat(100);
    let room = Room::with(&[(
        "a.rhai",
        &format!("fn f() {{ new_service(\"a\"){chain} }}\nf();\nprint(1);"),
    )]);
    check(&room, &["a.rhai"], 0, "1\n", "");
}

/// Starts a script that prints a line, presses Ctrl-C after that line, and returns how it ended.
fn interrupted(script: &str) -> (i32, Duration) {
    let room = Room::with(&[]);
    let mut zinit = room.zinit(&["-c", script]);
    let mut child = zinit.stdout(Stdio::piped()).spawn().expect("zinit runs");
    let mut line = String::new();
    let out = child.stdout.take().expect("a pipe");
    BufReader::new(out).read_line(&mut line).expect("a line");
    let start = Instant::now();
    let pid = i32::try_from(child.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
    (child.wait().expect("it ends").code().expect("it exits"), start.elapsed())
}

#[test]
fn ctrl_c_ends_a_script_at_once_whatever_it_does() {
    // It takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let silent = silent.local_addr().map(|it| (silent, it)).expect("it has an address");
    let request = format!("check_http(\"http://{}/\")", silent.1);
    for body in [
        "loop {}",
        "sleep(1000)",
        "let f = || sleep(1000); f.call()",
        "try { sleep_ms(1000000) } catch { loop {} }",
        "[3, 1, 2].sort(|a, b| { loop {} })",
        &request,
    ] {
        let (code, took) = interrupted(&format!("print(\"go\"); {body}"));
        assert_eq!(code, 130, "{body}");
        assert!(took < Duration::from_millis(400), "{body} took {took:?}");
    }
}

#[test]
fn ctrl_c_ends_even_a_read_that_cannot_be_interrupted() {
    let fifo = std::env::temp_dir().join(format!("zinit-cli-{}.fifo", std::process::id()));
    let _ = fs::remove_file(&fifo);
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let read = format!("print(\"go\"); open_file(\"{}\", \"r\")", fifo.display());
    let (code, took) = interrupted(&read);
    fs::remove_file(&fifo).expect("it is there");
    assert_eq!(code, 130);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_script_silently() {
    let room = Room::with(&[]);
    let mut zinit = room.zinit(&["-c", "loop { print(\"y\") }"]);
    let mut child =
        zinit.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("zinit runs");
    drop(child.stdout.take());
    let (code, _, err) = told(child.wait_with_output().expect("it ends"));
    assert_eq!((code, err.as_str()), (0, ""));
}

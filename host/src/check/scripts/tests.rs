//! Scripts with something wrong in them, and scripts that only look like it.

use std::fs;

use super::*;
use crate::check::tests::Scratch;
use crate::interrupt::Interrupt;

/// A directory with these files.
fn files_of(test: &str, files: &[(&str, &str)]) -> Scratch {
    Scratch::new(&format!("script-{test}"), files)
}

/// What is said against the file `a.rhai` of it.
fn told_in(scratch: &Scratch) -> Vec<String> {
    scratch.told(&checked(&[scratch.0.join("a.rhai")]).problems)
}

fn checked(paths: &[PathBuf]) -> Checked {
    let interrupt = Interrupt::new().expect("a descriptor is left");
    let work = || check_scripts(&Session::new(Path::new("/nowhere"), &interrupt), paths);
    engine::on_deep_stack(work).expect("no panic")
}

#[track_caller]
fn check(test: &str, files: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(told_in(&files_of(test, files)), expected);
}

#[test]
fn calls_of_nothing_are_told_wherever_they_stand_and_all_at_once() {
    let text = "#!/usr/bin/env zinit\nif false { zinit_pign(); }\nfn f() {\n    \
        [1].map(|x| x.srot() + zinit_kil(x));\n    loop { break zinit_lst(); }\n}\n\
        new_service(\"a\").exce(\"true\");\nzinit_kill();\nzinit_kill(\"a\", 1, 2);\n\
        new_service(\"a\").exec();\nexec(\"true\");\nhost::akk(\"a\");\nhost::ask();\nhots::ask(1);";
    check(
        "calls",
        &[("a.rhai", text)],
        &[
            "a.rhai:2:12: there is no function `zinit_pign` (did you mean `zinit_ping`?)",
            "a.rhai:4:19: there is no function `srot` (did you mean `sort`?)",
            "a.rhai:4:28: there is no function `zinit_kil` (did you mean `zinit_kill`?)",
            "a.rhai:5:18: there is no function `zinit_lst` (did you mean `zinit_list`?)",
            "a.rhai:7:18: there is no function `exce` (did you mean `exec`?)",
            "a.rhai:8:1: `zinit_kill` takes 1 or 2 parameters, and is given 0",
            "a.rhai:9:1: `zinit_kill` takes 1 or 2 parameters, and is given 3",
            "a.rhai:10:18: `exec` takes 1 parameter, and is given 0",
            "a.rhai:11:1: there is no function `exec` (it is a method: `x.exec(...)`)",
            "a.rhai:12:7: there is no function `akk` in `host` (did you mean `host::ask`?)",
            "a.rhai:13:7: `host::ask` takes 2 parameters, and is given 0",
            "a.rhai:14:1: there is no module `hots` (did you mean `host`?)",
        ],
    );
}

#[test]
fn methods_that_are_given_too_much_or_too_little_are_told() {
    let text = "let m = #{ jobs: [#{}] };\nm.jobs[args.len].state = args[0];\nm.count = 0;\n\
        m[args[0]] = 1 + 2;\nm[args[0]] += m.count;\n[1].push();\n\"a\".split(1, 2, 3);\n\
        new_service(\"a\").dir().exec(\"true\");\n1.timestamp();\n[1].psh(2);";
    check(
        "methods",
        &[("a.rhai", text)],
        &[
            "a.rhai:6:5: `push` takes 1 parameter, and is given 0",
            "a.rhai:7:5: `split` takes 0, 1 or 2 parameters, and is given 3",
            "a.rhai:8:18: `dir` takes 1 parameter, and is given 0",
            "a.rhai:9:3: `timestamp` is no method",
            "a.rhai:10:5: there is no function `psh` (did you mean `push`?)",
        ],
    );
}

#[test]
fn variables_that_are_declared_nowhere_are_told() {
    let text = "let count = 1;\nprint(cuont);\nfn f(a) { if a { count } else { args } }\n\
        let g = || nothing + count;\n{ let inner = 1; }\ninner = 2;\nprint(later);\nlet later = 1;\n\
        fn h() { [1].map(|x| x + far) }";
    let outer = "a function sees its parameters and its own variables, and nothing outside of it";
    check(
        "variables",
        &[("a.rhai", text)],
        &[
            "a.rhai:2:7: there is no variable `cuont` (did you mean `count`?)",
            &format!("a.rhai:3:18: there is no variable `count` ({outer})"),
            &format!("a.rhai:3:33: there is no variable `args` ({outer})"),
            "a.rhai:4:12: there is no variable `nothing`",
            "a.rhai:6:1: there is no variable `inner` (it is declared further down, or in another block)",
            "a.rhai:7:7: there is no variable `later` (it is declared further down, or in another block)",
            "a.rhai:9:26: there is no variable `far`",
        ],
    );
}

#[test]
fn what_is_imported_is_looked_through_and_calls_of_it_as_well() {
    let text = "import \"zinit/wait\" as wait;\nimport \"lib/b\" as b;\nimport \"lib/none\" as none;\n\
        import \"zinit/wiat\" as other;\nwait::wiat_up(\"a\", 1);\nb::twice(1, 2);\nb::hidden();\nfn f() { b::twcie(1) }\n\
        none::x();\nwait::wait_up(\"a\");";
    let b = "import \"c\" as c;\nfn twice(x) { c::tow() * x }\nprivate fn hidden() { args }\n";
    let scratch = files_of(
        "imports",
        &[("a.rhai", text), ("lib/b.rhai", b), ("lib/c.rhai", "fn two() { 2 }")],
    );
    let expected = [
        "a.rhai:3:8: there is no file lib/none.rhai",
        "a.rhai:4:8: there is no file zinit/wiat.rhai (did you mean `zinit/wait`?)",
        "a.rhai:5:7: there is no function `wiat_up` in `wait` (did you mean `wait::wait_up`?)",
        "a.rhai:6:4: `b::twice` takes 1 parameter, and is given 2",
        "a.rhai:7:4: there is no function `hidden` in `b`",
        "a.rhai:8:13: there is no function `twcie` in `b` (did you mean `b::twice`?)",
        "a.rhai:10:7: `wait::wait_up` takes 2 parameters, and is given 1",
        "lib/b.rhai:2:18: there is no function `tow` in `c` (did you mean `c::two`?)",
        "lib/b.rhai:3:23: there is no variable `args`",
    ];
    assert_eq!(told_in(&scratch), expected);
}

#[test]
fn a_syntax_error_is_told_in_every_file() {
    let files = [
        ("a.rhai", "import \"b\" as b;\nzinit_pign();\nb::x().anything();"),
        ("b.rhai", "#!x\nlet = 1;"),
    ];
    let expected = [
        "a.rhai:2:1: there is no function `zinit_pign` (did you mean `zinit_ping`?)",
        "b.rhai:2:5: syntax error: expecting name of a variable",
    ];
    check("syntax", &files, &expected);
    let scratch = files_of("facts", &[("a.rhai", "let = 1;")]);
    let problem = checked(&[scratch.0.join("a.rhai")]).problems.remove(0);
    assert_eq!((&problem.data["line"], &problem.data["column"]), (&1.into(), &5.into()));
    assert_eq!((&problem.data["source"], &problem.data["width"]), (&"let = 1;".into(), &1.into()));
    let scratch = files_of("width", &[("a.rhai", "#!it's\nzinit_pign();")]);
    let problem = checked(&[scratch.0.join("a.rhai")]).problems.remove(0);
    assert_eq!((&problem.data["line"], &problem.data["width"]), (&2.into(), &10.into()));
    let missing = checked(&[scratch.0.join("none.rhai")]);
    assert!(missing.problems[0].message.starts_with("there is no file "));
}

#[test]
fn what_may_be_fine_is_not_told() {
    for (at, text) in [
        "let f = |x| x + 1; f.call(1); call(f, 1); let g = f.curry(1); g.call();",
        "let m = #{ twice: |x| x * 2 }; m.twice(4); m.once = |x| x; m.once(1); m[\"no\"] = |x| x; m.no(1);",
        "fn f(g, x) { g.call(x) + x.anywhere } f(|x| x, #{ anywhere: 1 });",
        "let f = Fn(\"mine\"); call(f, 1); fn mine(a) { a }",
        "fn mine(a) { a } let f = mine; f.call(1); [1].map(mine);",
        "let m = #{}; m[args[0]] = |x| x; m.some(1, 2); let g = |x| x; m[`n${1}`] = g; m.n1();",
        "let m = #{ a: #{} }; m.a[args[0]] = |x| x; m.a.some(1, 2);",
        "let m = #{ a: #{} }; m[args[0]][args[1]] = |x| x; m.a.some(1, 2);",
        "fn keep(m, key, f) { m[key] = f; m } keep(#{}, args[0], |x| x).some(1, 2);",
        "let m = #{}; m.set(args[0], |x| x); m.other();",
        "import args[0] as m; m::anything(1); let it = m::make(); it.works(1, 2);",
        "let path = \"x\" + 1; import path as m; m::f(); m::g::h();",
        "fn Service.twice(n) { this.env(\"A\", n) } new_service(\"a\").twice(\"1\");",
        "fn int.double() { this * 2 } 5.double();",
        "fn double() { this * 2 } 5.double();",
        "private fn hidden(a) { a } hidden(1);",
        "eval(\"let x = 1; fn y() {}\"); print(x); y(); x.whatever();",
        "if is_def_fn(\"maybe\", 1) { maybe(1); } if is_def_var(\"some\") { print(some); }",
        "try { import \"lib/none\" as none; none::f(); } catch { print(1); }",
        "try { throw #{ why: 1 } } catch (e) { print(e.why); print(e.message); }",
        "fn f() { x } fn g() { let x = 3; f!() } g();",
        "for (it, i) in [1, 2] { print(it + i + args.len); } [1].map(|x| args[x]);",
        "let n = 0; let f = || { n += 1; [1].map(|x| x + n) }; f.call(); while n < 3 { n += 1 }",
        "let x = if true { let y = 1; y } else { 2 }; switch x { 1 => print(x), 2..4 if x > 2 => x, _ => () }",
        "const LIMIT = 3; fn f() { global::LIMIT } f();",
        "import \"zinit/wait\" as wait; fn f() { wait::wait_up(\"a\", 1) } f();",
        "print(`${args.len} ${zinit_list().len}`); type_of(1); 1.type_of(); debug(1); sleep(1); exit(1);",
        "let s = new_service(\"a\").exec(\"true\").env(\"A\", \"b\"); s.register(); start(s, 1);",
        "let text = open_file(\"/x\", \"r\").read_string(); parse_json(text).a.b.len(); text.split(\"\\n\");",
        "let x = [3, 1]; x.sort(|a, b| a - b); x.filter(|it| it > 1).reduce(|sum, it| sum + it, 0); 1 in x;",
        "let m = #{}; m.count = m.count ?? 1; m.a?.b?.keys(); let len = m.len; print(len);",
        "",
    ]
    .iter()
    .enumerate()
    {
        let told = told_in(&files_of(&format!("fine-{at}"), &[("a.rhai", text)]));
        assert_eq!(told, Vec::<String>::new(), "{text}");
    }
}

#[test]
fn what_imported_files_bring_is_not_told() {
    let a = "import \"lib/b\" as b; import \"lib/c\" as c;\n5.double(); b::twice(1); let it = b::made(); it.greet(1);\nfn of_a() { 1 }";
    let b = "import \"c\" as c; fn twice(x) { c::two() * x + of_a() } fn int.double() { this * 2 }\n\
        fn made() { #{ greet: |x| x } }";
    check("brought", &[("a.rhai", a), ("lib/b.rhai", b), ("lib/c.rhai", "fn two() { 2 }")], &[]);
    let circle =
        [("a.rhai", "import \"b\" as b; b::x();"), ("b.rhai", "import \"a\" as a; fn x() { 1 }")];
    check("circle", &circle, &[]);
}

#[test]
fn every_example_and_every_bundled_module_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let examples = fs::read_dir(root.join("rhaiexamples")).expect("it is there");
    let mut paths: Vec<PathBuf> = examples.flatten().map(|it| it.path()).collect();
    paths.retain(|it| it.extension().is_some_and(|it| it == "rhai"));
    assert!(!paths.is_empty());
    paths.extend(zinit_stdlib::SCRIPT.iter().map(|it| root.join("stdlib").join(it.path)));
    let checked = checked(&paths);
    assert_eq!((checked.scripts, checked.problems), (Some(paths.len()), vec![]));
}

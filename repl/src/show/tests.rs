//! Pictures of values and functions, at several widths.

use std::path::Path;

use super::*;
use crate::render::Paint;
use zinit_host::interrupt::Interrupt;
use zinit_host::native::Session;
use zinit_host::sitting::Came;
use zinit_host::words::Word;

pub(crate) const NARROW: Look =
    Look { paint: Paint(false), width: 80, height: 24, is_terminal: true, is_utf8: true };
pub(crate) const WIDE: Look = Look { width: 200, height: 50, ..NARROW };
pub(crate) const ASCII: Look = Look { is_utf8: false, ..NARROW };
pub(crate) const COLOUR: Look = Look { paint: Paint(true), ..NARROW };
const PIPE: Look = Look { is_terminal: false, ..NARROW };

/// A sitting in which this was said.
pub(crate) fn sitting(text: &str) -> Sitting {
    let interrupt = Interrupt::new().expect("a descriptor");
    let mut it = Sitting::new(&Session::new(Path::new("/no/socket"), &interrupt), &[]);
    assert!(matches!(it.run(text), Came::To(_)), "{text}");
    it
}

pub(crate) fn word(name: &str, module: &str) -> Word {
    Word {
        name: name.to_owned(),
        of: None,
        params: Vec::new(),
        returns: None,
        doc: String::new(),
        module: module.to_owned(),
    }
}

/// What is shown of the last value of a text.
fn shown(text: &str, look: Look) -> String {
    let mut it = sitting("");
    match it.run(text) {
        Came::To(left) => value(&it, left, look),
        Came::Short(ended) => panic!("{text}: {ended:?}"),
    }
}

fn bare(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, it| all + it.split_once('m').map_or(it, |it| it.1))
}

/// A status of all services as the server gives it.
const SERVICES: &str = r#"
    let all = [];
    for name in ["db", "web", "worker"] {
        all.push(#{ name: name, state: if name == "db" { "Failed" } else { "Running" }, target: "Up",
            pid: if name == "db" { 0 } else { 4711 }, reason: "it is up, and so is all that it needs",
            since_ms: 1, restarts: 0, essential: false, last_exit: "", next: "", next_ms: 0, health: "",
            says: (), labels: #{ tier: "front" }, after: ["db", "net"], groups: [] });
    }
    all
"#;

#[test]
fn small_values_are_in_one_line_as_rhai_writes_them() {
    let texts = [
        "42",
        "-1.5",
        "1e300",
        "true",
        "'x'",
        "\"a\\n\\\"b\\x1b[2J\"",
        "[1, 2.0, \"a\", 'b', (), [], #{}]",
        "#{ name: \"web\", \"odd key\": [1, #{ a: () }] }",
        "Fn(\"sleep\")",
        "1..5",
        "blob(3, 7)",
        "new_service(\"web\").exec(\"sleep 1\")",
    ];
    for text in texts {
        let as_rhai = shown(text, PIPE);
        assert!(as_rhai.starts_with("=> ") && as_rhai.ends_with('\n'), "{as_rhai}");
        assert_eq!(shown(text, WIDE), as_rhai, "{text}");
        assert_eq!(bare(&shown(text, Look { width: 200, ..COLOUR })), as_rhai, "{text}");
    }
    assert_eq!(shown("42", COLOUR), "=> \x1b[33m42\x1b[0m\n");
    assert_eq!(shown("()", NARROW), "");
    assert!(shown("timestamp()", NARROW).starts_with("=> "));
}

#[test]
fn a_pipe_gets_no_table() {
    assert_eq!(shown("[#{ a: 1 }, #{ a: 2 }]", PIPE), "=> [#{\"a\": 1}, #{\"a\": 2}]\n");
}

#[test]
fn an_array_of_maps_is_a_table_as_wide_as_the_terminal() {
    let narrow = shown(SERVICES, NARROW);
    assert!(narrow.lines().all(|it| width(it) <= 80), "{narrow}");
    let lines: Vec<&str> = narrow.lines().collect();
    assert_eq!(lines[0], "=> array of 3 maps");
    assert!(lines[1].starts_with("name    state     pid  reason "), "{narrow}");
    assert!(lines[3].starts_with("db      Failed      0  it is up"), "{narrow}");
    assert!(lines[6].starts_with("… ") && narrow.contains("more columns: "), "{narrow}");
    let wide = shown(SERVICES, WIDE);
    assert!(wide.lines().all(|it| width(it) <= 200), "{wide}");
    assert!(
        wide.contains("#{\"tier\": \"front\"}") && wide.contains("[\"db\", \"net\"]"),
        "{wide}"
    );
    assert_eq!(bare(&shown(SERVICES, COLOUR)), narrow);
    let painted = shown(SERVICES, COLOUR);
    assert!(painted.contains("\x1b[31mFailed\x1b[0m") && painted.contains("\x1b[1mname\x1b[0m"));
    let ascii = shown(SERVICES, ASCII);
    assert!(ascii.is_ascii() && ascii.contains("\n... "), "{ascii}");
}

#[test]
fn a_map_that_fits_no_line_is_a_list_in_units() {
    let text = r#"#{ name: "web", pid: 12, memory_usage: 12_345_678, cpu_usage: 1.234, uptime_ms: 7_380_000,
        state: "Running", reason: "", next_ms: 0, log: #{ lines: 3, bytes: 2048 },
        path: "/a/rather/long/path/to/somewhere/that/takes/many/columns",
        children: [#{ pid: 13, memory_usage: 1024 }, #{ pid: 14, memory_usage: 2 }],
        deep: #{ one: "a rather long text that needs much room", two: "and another one of these" } }"#;
    let expected = "\
=> map of 12 keys
name          web
state         Running
pid           12
reason        \"\"
uptime_ms     2h 3m
cpu_usage     1.2%
memory_usage  11.8 MB
children
  pid  memory_usage
  ───  ────────────
   13        1.0 KB
   14           2 B
";
    let drawn = shown(text, NARROW);
    assert!(drawn.starts_with(expected), "{drawn}");
    assert!(drawn.contains("\ndeep\n  one  a rather long"), "{drawn}");
    assert!(drawn.contains("\nnext_ms       -\n"), "{drawn}");
    assert_eq!(bare(&shown(text, COLOUR)), drawn);
}

#[test]
fn long_arrays_are_in_columns_or_a_line_each() {
    let drawn = shown("let a = []; for i in 0..100 { a.push(`service-${i}`); } a", NARROW);
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!(lines[0], "=> array of 100 strings");
    assert_eq!(lines[1], "service-0   service-17  service-34  service-51  service-68  service-85");
    assert!(lines.iter().all(|it| width(it) <= 80), "{drawn}");
    let drawn = shown("let a = []; for i in 0..60 { a.push(i * 7); } a", NARROW);
    assert!(drawn.lines().nth(1).is_some_and(|it| it.starts_with("  0   28   56")), "{drawn}");
    let drawn =
        shown("let a = []; a.pad(5, \"x\"); a[0].pad(60, 'x'); a[1].pad(70, 'y'); a", NARROW);
    assert_eq!(drawn.lines().count(), 6, "{drawn}");
}

#[test]
fn a_value_without_an_end_in_sight_is_shown_at_once() {
    let million = shown("let a = []; a.pad(1_000_000, 7); a", NARROW);
    assert!(
        million.starts_with("=> array of 1,000,000 numbers, of which these are the first 1,000\n")
    );
    assert!(million.ends_with("\n… 999,000 more values\n"), "{}", million.lines().count());
    let rows = shown("let a = []; a.pad(2_000, #{ a: 1 }); a", NARROW);
    assert!(rows.ends_with("\n… 1,000 more rows\n"));
    let long = shown("let a = \"\"; a.pad(10_000_000, 'x'); a", NARROW);
    assert!(long.len() < 200_000 && long.ends_with("\n… 9,900,000 more characters\n"));
    let deep = "let a = [1]; for i in 0..500 { a = [a]; } a";
    assert!(shown(deep, NARROW).starts_with("=> array of 1 value\n[[[["));
    let deep = "let a = #{}; for i in 0..500 { a = #{ a: a, b: 1 }; } a";
    assert!(shown(deep, NARROW).lines().count() < 50);
}

#[test]
fn a_value_that_contains_itself_has_an_end() {
    let text = "let a = #{}; let f = || a.b = 1; let g = || a; a.me = g; a.f = f; a";
    assert!(shown(text, NARROW).starts_with("=> "), "through functions");
    let shared = Dynamic::from(rhai::Map::new()).into_shared();
    shared.clone().write_lock::<rhai::Map>().expect("a map").insert("me".into(), shared.clone());
    let drawn = value(&sitting(""), shared.clone(), NARROW);
    assert!(drawn.contains("me") && drawn.lines().count() < 50, "{drawn}");
    let drawn = value(&sitting(""), vec![shared.clone()].into(), NARROW);
    assert!(drawn.contains("#{… 1 key}"), "{drawn}");
}

#[test]
fn variables_have_a_type_and_those_that_stay_are_marked() {
    let it =
        sitting("let x = 1; const Y = \"a\\n\"; let long = [1]; long.pad(99, 1); let f = |a| a;");
    let drawn = variables(it.engine(), &it.variables(), NARROW);
    let rows: Vec<&str> = drawn.lines().skip(2).collect();
    assert_eq!(rows[0], "args  const array   []");
    assert_eq!(rows[1], "x     i64           1");
    assert_eq!(rows[2], "Y     const string  \"a\\n\"");
    assert_eq!(rows[3], "long  array         array of 99 numbers");
    assert!(rows[4].starts_with("f     Fn            Fn("), "{drawn}");
    assert!(variables(it.engine(), &it.variables(), PIPE).contains("\nx = 1\n"));
}

#[test]
fn functions_are_told_by_module_and_overloads_once() {
    let it = sitting("");
    let all = zinit_host::words::words(it.engine());
    let all: Vec<&Word> = all.iter().collect();
    for look in [NARROW, WIDE] {
        let drawn = functions(&all, look);
        assert!(drawn.lines().all(|it| width(it) <= look.width), "{drawn}");
        assert!(drawn.contains("\nzinit/wait  Waiting for services.\n"), "{drawn}");
        assert!(drawn.contains("\n  zinit_list()"), "{drawn}");
        let at = |head: &str| drawn.find(head).unwrap_or_else(|| panic!("no {head}: {drawn}"));
        assert!(at("\nzinit/wait  ") < at("\nhost  "));
        assert_eq!(bare(&functions(&all, Look { paint: Paint(true), ..look })), {
            drawn.replace('`', "")
        });
    }
}

#[test]
fn modules_stand_from_the_nearest_to_the_farthest_and_say_what_they_are_for() {
    let words = ["rhai/math", "rhai", "here", "host", "zinit"].map(|it| word("f", it));
    let drawn = functions(&words.iter().collect::<Vec<_>>(), NARROW);
    let heads: Vec<&str> =
        drawn.lines().filter(|it| it.contains("  ") && !it.starts_with(' ')).collect();
    let firsts: Vec<&str> = heads.iter().filter_map(|it| it.split("  ").next()).collect();
    assert_eq!(firsts, ["here", "zinit", "host", "rhai", "rhai/math"], "{drawn}");
    assert_eq!(heads[4], "rhai/math  The standard library of Rhai: math.");
}

#[test]
fn a_documentation_has_its_examples_and_where_it_is_from() {
    let it = sitting("");
    let all = zinit_host::words::words(it.engine());
    let one: Vec<&Word> = all.iter().filter(|it| it.name == "zinit_stats").collect();
    let expected = "\
zinit_stats(name)  of zinit

  What a service uses: `pid`, `memory_usage` in bytes, `cpu_usage` in percent,
  `processes` and more.

  Examples:
    zinit_stats(\"web\").memory_usage > 0
";
    assert_eq!(doc(&one, NARROW), expected);
    let same = ["a", "b"].map(|it| Word { params: vec![it.into()], ..word("len", "rhai") });
    assert_eq!(doc(&[&same[0], &same[1]], NARROW), "len(a)  of rhai\nlen(b)  of rhai\n");
}

/// Prints how long a large table takes, for who runs it with `--no-capture`.
#[test]
fn a_table_of_a_thousand_services_has_a_row_for_each() {
    let it = format!("let some = {{ {SERVICES} }}; let many = []; many.pad(1_000, some[1]); many");
    let mut sitting = sitting("");
    let Came::To(left) = sitting.run(&it) else { panic!("it runs") };
    let begun = crate::shell::now();
    let drawn = value(&sitting, left, COLOUR);
    println!("1,000 services with 16 keys each: {:?}", begun.elapsed());
    assert_eq!(drawn.lines().filter(|it| it.contains("Running")).count(), 1_000);
}

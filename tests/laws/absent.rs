//! A policy can compute, and nothing else: the words with which scripts reach the world are absent.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use expect_test::expect;
use zinit_host::engine::{self, Words, on_deep_stack};
use zinit_host::interrupt::Interrupt;
use zinit_host::native::Session;
use zinit_host::policy::Policy;

/// What a policy must never reach, one way of saying it each.
const WORLD: [&str; 26] = [
    "sleep(1)",
    "sleep(0.1)",
    "timestamp()",
    "exit()",
    "exit(1)",
    "print(1)",
    "debug(1)",
    "eval(\"1\")",
    "import \"x\" as x; 1",
    "rand()",
    "open_file(\"/etc/passwd\")",
    "path(\"/etc\")",
    "remove(path(\"/tmp/x\"))",
    "env(\"HOME\")",
    "cwd()",
    "host::rpc(\"service.list\")",
    "host::tcp(\"127.0.0.1:1\", 1)",
    "host::env(\"HOME\")",
    "host::sleep(1)",
    "host::now()",
    "fs::read(\"/etc/passwd\")",
    "net::tcp(\"127.0.0.1:1\")",
    "proc::run(\"true\")",
    "zinit_stop(\"web\")",
    "new_service(\"x\")",
    "sh(\"true\")",
];

/// Everything that a script can call, with the primitives as if they stood alone.
fn words_of_scripts() -> BTreeSet<String> {
    let interrupt = Interrupt::new().expect("a descriptor");
    let words = on_deep_stack(|| {
        let engine = engine::script(&Session::new(Path::new("/nowhere"), &interrupt), Words::All);
        engine.collect_fn_metadata(None, |it| Some(it.metadata.name.to_string()), true)
    });
    words.expect("no panic").into_iter().filter(|it| is_name(it)).collect()
}

fn is_name(word: &str) -> bool {
    word.chars().all(|it| it.is_alphanumeric() || it == '_')
        && word.starts_with(|it: char| it.is_alphabetic())
}

fn load(text: &str) -> Result<(), Vec<String>> {
    let files = [(PathBuf::from("policy.rhai"), text.to_owned())];
    let said = on_deep_stack(|| {
        let problems = Policy::of(&files).err()?;
        Some(problems.into_iter().map(|it| it.message).collect())
    });
    said.expect("no panic").map_or(Ok(()), Err)
}

#[test]
fn of_the_words_of_scripts_a_policy_has_those_that_compute_and_no_other() {
    let shared = on_deep_stack(|| {
        let policy = Policy::bundled().words();
        words_of_scripts().intersection(&policy).cloned().collect::<Vec<_>>()
    });
    // Whoever adds one has made sure that it only computes, and says the same whenever it is asked.
    expect![[r#"
        E
        PI
        abs
        acos
        acosh
        all
        append
        asin
        asinh
        atan
        atanh
        bits
        bytes
        ceiling
        chars
        chop
        clear
        contains
        cos
        cosh
        crop
        debug
        dedup
        drain
        end
        ends_with
        exp
        extract
        fill_with
        filter
        find
        find_map
        floor
        for_each
        fraction
        get
        hypot
        index_of
        insert
        int
        is_anonymous
        is_empty
        is_even
        is_exclusive
        is_finite
        is_inclusive
        is_infinite
        is_nan
        is_odd
        is_zero
        keys
        label
        len
        ln
        log
        make_lower
        make_upper
        map
        max
        min
        mixin
        name
        on_give_up
        order
        order_by
        order_desc
        pad
        parse_float
        parse_int
        pop
        print
        push
        range
        reduce
        reduce_rev
        remove
        replace
        restart_delay
        retain
        reverse
        round
        set
        shift
        sign
        sin
        sinh
        some
        sort
        sort_by
        sort_desc
        splice
        split
        split_rev
        sqrt
        start
        starts_with
        sub_string
        tan
        tanh
        to_binary
        to_blob
        to_chars
        to_debug
        to_degrees
        to_float
        to_hex
        to_int
        to_json
        to_lower
        to_octal
        to_radians
        to_string
        to_upper
        trim
        truncate
        values
        wait
        zip"#]]
    .assert_eq(&shared.expect("no panic").join("\n"));
}

#[test]
fn a_policy_that_says_any_other_word_is_not_loaded() {
    let policy = on_deep_stack(|| Policy::bundled().words()).expect("no panic");
    let absent: Vec<_> = words_of_scripts().difference(&policy).cloned().collect();
    assert!(absent.len() > 100, "{absent:?}");
    // Some are no functions here, but keywords that are taken away.
    let (keywords, absent): (Vec<_>, Vec<_>) =
        absent.into_iter().partition(|it| load(&format!("fn a() {{ let {it} = 1; }}")).is_err());
    let calls: String =
        absent.iter().map(|it| format!("private fn a_{it}() {{ {it}() }}\n")).collect();
    let told = load(&calls).expect_err("none of them is there");
    assert_eq!(told.len(), absent.len(), "{told:#?}");
    for word in keywords {
        load(&format!("fn a() {{ {word}(1) }}")).expect_err(&word);
    }
}

#[test]
fn no_way_to_the_world_can_be_said() {
    for way in WORLD {
        let text = format!("fn settle_ms(service) {{ if service.attempts > 99 {{ {way} }} 10 }}");
        load(&text).expect_err(way);
    }
    load("fn settle_ms(service) { if service.attempts > 99 { abs(-1) } 10 }").expect("it computes");
}

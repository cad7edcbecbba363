//! The file that a user starts from: a bundled function, what it needs, and its examples as tests.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::TEST_PREFIX;
use super::index::{Function, functions};
use super::pieces::{Piece, pieces};
use crate::hooks::Hook;

/// The text of a file that answers this hook as the bundled policy does.
///
/// # Panics
/// When no bundled function answers the hook; the test suite sees to it that all are answered.
pub fn starter(hook: &Hook) -> String {
    let name = hook.name;
    let (function, helpers) = zinit_stdlib::POLICY
        .iter()
        .find_map(|it| with_helpers(functions(it.path, it.source), name))
        .expect("every hook is bundled");
    let mut text = format!(
        "//! `{name}`, as it is decided here. It begins as a copy of the bundled function, which stays\n\
         //! callable as `base::{name}`; without this file that one decides.\n\n{}\n",
        function.source
    );
    for helper in helpers {
        let _ = write!(text, "\n{}\n", helper.source);
    }
    text.push_str(&test(&function));
    text
}

/// A function of these, and the private ones that it calls, directly or not.
fn with_helpers(all: Vec<Function>, name: &str) -> Option<(Function, Vec<Function>)> {
    let function = all.iter().find(|it| it.name == name)?.clone();
    let mut needed: BTreeSet<String> = words(&function);
    loop {
        let helpers: Vec<_> =
            all.iter().filter(|it| it.is_private && needed.contains(&it.name)).cloned().collect();
        let before = needed.len();
        needed.extend(helpers.iter().flat_map(words));
        if needed.len() == before {
            return Some((function, helpers));
        }
    }
}

fn words(function: &Function) -> BTreeSet<String> {
    let source = &function.source;
    let words = pieces(source).into_iter().filter(|it| it.0 == Piece::Word);
    words.map(|(_, at)| source[at].to_owned()).collect()
}

/// Its examples as a test, which says what does not hold, and a test in a world.
fn test(function: &Function) -> String {
    let mut text = format!("\nfn {TEST_PREFIX}{}() {{\n", function.name);
    for example in function.examples() {
        let _ = writeln!(text, "    if !({example}) {{ throw {example:?}; }}");
    }
    text.push_str("    true\n}\n");
    let _ = write!(text, "\nfn {TEST_PREFIX}{}_in_virtual_time(sim) {{", function.name);
    text.push_str(IN_VIRTUAL_TIME);
    text
}

/// What holds whatever is decided, as long as a service comes back.
const IN_VIRTUAL_TIME: &str = r#"
    sim.service("web");
    sim.advance(1_000).exit("web", 1);
    sim.advance(60_000);
    assert(sim.is_up("web"), sim.reason("web"));
    assert_eq(sim.restarts("web"), 1);
}
"#;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::hooks::HOOKS;
    use crate::policy::told::vet;

    /// Why a policy of this file is refused.
    fn refused(hook: &Hook, text: String) -> Vec<String> {
        let files = [(PathBuf::from(format!("policy/{}.rhai", hook.name)), text)];
        vet(&files).into_iter().map(|it| it.message).collect()
    }

    #[test]
    fn every_hook_has_a_file_to_start_from_whose_tests_hold() {
        for hook in HOOKS {
            assert_eq!(refused(hook, starter(hook)), Vec::<String>::new(), "{}", hook.name);
        }
    }

    #[test]
    fn a_test_says_which_example_does_not_hold() {
        let hook = crate::hooks::find("settle_ms").expect("it is a hook");
        let said = refused(hook, starter(hook).replace("    10\n", "    11\n"));
        assert!(said.len() == 1 && said[0].contains("settle_ms(sample()) == 10"), "{said:?}");
    }

    #[test]
    fn helpers_come_along() {
        let hook = crate::hooks::find("may_start").expect("it is a hook");
        let text = starter(hook);
        assert!(text.contains("private fn plight(") && !text.contains("is_hopeless"), "{text}");
    }
}

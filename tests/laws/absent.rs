//! A policy can compute, and nothing else: the words with which scripts reach the world are absent.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use zinit_host::engine::{self, Words, on_deep_stack};
use zinit_host::interrupt::Interrupt;
use zinit_host::native::Session;
use zinit_host::policy::Policy;

/// Global words of scripts, and of Rhai's whole library, that a policy has as well: they compute. A new
/// one has to be thought about before it stands here.
const SHARED: &[&str] = &[];

/// What a policy must never reach, whatever it is called there.
const WORLD: [&str; 28] = [
    "sleep(1)", "sleep(0.1)", "timestamp()", "exit()", "exit(1)", "print(1)", "debug(1)", "eval(\"1\")",
    "import \"x\" as x", "rand()", "random()", "open_file(\"/etc/passwd\")", "read_file(\"/etc/passwd\")",
    "path(\"/etc\")", "remove_file(\"/tmp/x\")", "create_dir(\"/tmp/x\")", "env(\"HOME\")", "cwd()",
    "host::rpc(\"service.list\")", "host::tcp(\"127.0.0.1:1\", 1)", "host::env(\"HOME\")",
    "host::sleep(1)", "host::now()", "zinit_list()", "zinit_stop(\"web\")", "new_service(\"x\")",
    "sh(\"true\")", "parse_json(`{}`)",
];

/// The names of what an engine can do without a module.
fn global_words(engine: &rhai::Engine) -> BTreeSet<String> {
    let name = |it: rhai::FuncInfo<'_>| {
        it.namespace.is_empty().then(|| it.metadata.name.to_string())
    };
    engine.collect_fn_metadata(None, name, true).into_iter().collect()
}

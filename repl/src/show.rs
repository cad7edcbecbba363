//! What is shown of values, functions and variables.

use rhai::{Dynamic, Engine};
use zinit_host::script;
use zinit_host::sitting::Variable;
use zinit_host::words::Word;

use crate::render;
use crate::shell::look::Look;

/// What a text has left, after `=>`; nothing for `()`.
pub(crate) fn value(engine: &Engine, value: Dynamic, _look: Look) -> String {
    script::shown(engine, value).map(|it| format!("=> {it}\n")).unwrap_or_default()
}

/// The variables, a line each.
pub(crate) fn variables(_engine: &Engine, all: &[Variable], _look: Look) -> String {
    all.iter().map(|it| format!("{} = {}\n", it.name, it.value)).collect()
}

/// Functions by module, a line each.
pub(crate) fn functions(all: &[&Word], _look: Look) -> String {
    all.iter().map(|it| it.signature() + "\n").collect()
}

/// All that is said of functions.
pub(crate) fn doc(all: &[&Word], _look: Look) -> String {
    all.iter().map(|it| format!("{}\n\n{}\n", it.signature(), it.doc)).collect()
}

/// Prints a text; one that is longer than the terminal is high, a page at a time.
pub(crate) fn paged(text: &str, _look: Look) {
    render::print(text);
}

//! What the place looks like in which something is shown.

use std::io::{IsTerminal, stdin, stdout};

use crate::render::{Paint, is_dumb};

/// How much there is room for, and what is understood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether to use colours.
    pub(crate) paint: Paint,
    /// Columns.
    pub(crate) width: usize,
    /// Rows.
    pub(crate) height: usize,
    /// Whether somebody looks at it, and not a program.
    pub(crate) is_terminal: bool,
    /// Whether more than ASCII is understood.
    pub(crate) is_utf8: bool,
}

impl Look {
    /// That of standard output just now.
    pub(crate) fn now() -> Self {
        let size = terminal_size::terminal_size();
        let (width, height) = size.map_or((80, 24), |(width, height)| (width.0, height.0));
        Self {
            paint: Paint::for_stdout(),
            width: usize::from(width),
            height: usize::from(height),
            is_terminal: stdout().is_terminal(),
            is_utf8: is_utf8(),
        }
    }
}

/// Whether somebody sits there.
pub(crate) fn is_watched() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// Whether the cursor of this terminal can be moved, so that lines can be edited.
pub(crate) fn is_editable() -> bool {
    is_watched() && !is_dumb()
}

/// What the locale says; where it says nothing, the terminal is of this century.
fn is_utf8() -> bool {
    let set = |key: &&str| std::env::var(key).ok().filter(|it| !it.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set);
    locale.is_none_or(|it| {
        let it = it.to_lowercase();
        it.contains("utf-8") || it.contains("utf8")
    })
}

//! The editor of lines: what it completes, hints at, colours and takes for whole.

use reedline::{EditMode, Emacs, Reedline, Vi};

use crate::shell::lexicon::Shared;
use crate::shell::look::Look;

/// Whose keys edit a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keys {
    #[default]
    Emacs,
    Vi,
}

/// An editor that knows what can be said.
pub(crate) fn equipped(editor: Reedline, keys: Keys, _lexicon: &Shared, look: Look) -> Reedline {
    editor
        .with_ansi_colors(look.paint.is_on())
        .use_bracketed_paste(true)
        .with_edit_mode(edit_mode(keys))
}

/// What the keys do.
pub(crate) fn edit_mode(keys: Keys) -> Box<dyn EditMode> {
    match keys {
        Keys::Emacs => Box::new(Emacs::default()),
        Keys::Vi => Box::new(Vi::default()),
    }
}

/// Whether a text is complete, so that it can be run; one with mistakes is.
pub(crate) fn is_whole(_text: &str) -> bool {
    true
}

//! What the keys do: one table, which binds them and which `/help` shows.

use super::vi::InOrder;
use reedline::{
    EditCommand, EditMode, Emacs, KeyCode, KeyModifiers, Keybindings, ReedlineEvent, Vi,
    default_emacs_keybindings, default_vi_insert_keybindings, default_vi_normal_keybindings,
    default_vi_visual_keybindings,
};

/// Whose keys edit a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keys {
    #[default]
    Emacs,
    Vi,
}

/// What the menu of completions is called.
pub(crate) const MENU: &str = "completion";

/// What a key does that is bound here.
#[derive(Clone, Copy, Debug)]
enum Does {
    Complete,
    CompleteBackwards,
    TakeHint,
    TakeHintWord,
    NewLine,
    Search,
    Edit,
    Clear,
    GiveUp,
    Leave,
    /// The editor of lines sees to it by itself.
    AsAlways,
}

/// A key, what it does, and how it is bound.
struct Key {
    name: &'static str,
    help: &'static str,
    modifiers: KeyModifiers,
    code: KeyCode,
    does: Does,
}

const fn key(
    name: &'static str,
    help: &'static str,
    modifiers: KeyModifiers,
    code: KeyCode,
    does: Does,
) -> Key {
    Key { name, help, modifiers, code, does }
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CTRL: KeyModifiers = KeyModifiers::CONTROL;
const ALT: KeyModifiers = KeyModifiers::ALT;
const SHIFT: KeyModifiers = KeyModifiers::SHIFT;

const TABLE: [Key; 15] = [
    key("Tab", "completes, and goes through the menu", NONE, KeyCode::Tab, Does::Complete),
    key("Shift+Tab", "goes back in the menu", SHIFT, KeyCode::BackTab, Does::CompleteBackwards),
    key(
        "Esc",
        "closes the menu; with the keys of vi, leaves insertion",
        NONE,
        KeyCode::Esc,
        Does::AsAlways,
    ),
    key(
        "Enter",
        "runs a text that is complete, else begins a line",
        NONE,
        KeyCode::Enter,
        Does::AsAlways,
    ),
    key("Alt+Enter", "begins a line", ALT, KeyCode::Enter, Does::NewLine),
    key(
        "Up",
        "the line above, or what was said before that begins so",
        NONE,
        KeyCode::Up,
        Does::AsAlways,
    ),
    key("Down", "the line below, or what was said after that", NONE, KeyCode::Down, Does::AsAlways),
    key("Right", "takes the hint, at the end of the line", NONE, KeyCode::Right, Does::AsAlways),
    key(
        "Ctrl+E",
        "takes the hint, or goes to the end of the line",
        CTRL,
        KeyCode::Char('e'),
        Does::TakeHint,
    ),
    key(
        "Alt+F",
        "takes a word of the hint, or goes over one",
        ALT,
        KeyCode::Char('f'),
        Does::TakeHintWord,
    ),
    key("Ctrl+R", "searches what was said before", CTRL, KeyCode::Char('r'), Does::Search),
    key("Ctrl+O", "opens the text in $VISUAL, $EDITOR or vi", CTRL, KeyCode::Char('o'), Does::Edit),
    key("Ctrl+L", "clears the screen", CTRL, KeyCode::Char('l'), Does::Clear),
    key("Ctrl+C", "gives up the text, or ends what runs", CTRL, KeyCode::Char('c'), Does::GiveUp),
    key("Ctrl+D", "leaves, if nothing is typed", CTRL, KeyCode::Char('d'), Does::Leave),
];

/// The keys and what they do, as `/help` shows them.
pub(crate) fn told() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().map(|it| (it.name, it.help))
}

/// What the keys do.
pub(crate) fn edit_mode(keys: Keys) -> Box<dyn EditMode> {
    match keys {
        Keys::Emacs => Box::new(Emacs::new(bound(default_emacs_keybindings()))),
        Keys::Vi => Box::new(InOrder::new(vi)),
    }
}

/// The keys of vi, which insert first.
fn vi() -> Vi {
    let normal = bound(default_vi_normal_keybindings());
    Vi::new(bound(default_vi_insert_keybindings()), normal, default_vi_visual_keybindings())
}

fn bound(mut keys: Keybindings) -> Keybindings {
    for it in &TABLE {
        if let Some(event) = event(it.does) {
            keys.add_binding(it.modifiers, it.code, event);
        }
    }
    keys
}

fn event(does: Does) -> Option<ReedlineEvent> {
    let or = |first, second| Some(ReedlineEvent::UntilFound(vec![first, second]));
    let edit = |it| ReedlineEvent::Edit(vec![it]);
    match does {
        Does::Complete => or(ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext),
        Does::CompleteBackwards => Some(ReedlineEvent::MenuPrevious),
        Does::TakeHint => or(
            ReedlineEvent::HistoryHintComplete,
            edit(EditCommand::MoveToLineEnd { select: false }),
        ),
        Does::TakeHintWord => or(
            ReedlineEvent::HistoryHintWordComplete,
            edit(EditCommand::MoveWordRight { select: false }),
        ),
        Does::NewLine => Some(edit(EditCommand::InsertNewline)),
        Does::Search => Some(ReedlineEvent::SearchHistory),
        Does::Edit => Some(ReedlineEvent::OpenEditor),
        Does::Clear => Some(ReedlineEvent::ClearScreen),
        Does::GiveUp => Some(ReedlineEvent::CtrlC),
        Does::Leave => Some(ReedlineEvent::CtrlD),
        Does::AsAlways => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_table_is_bound_in_both_modes() {
        for bound in [bound(default_emacs_keybindings()), bound(default_vi_insert_keybindings())] {
            for it in &TABLE {
                // With the keys of vi, Enter and Esc are part of the mode itself.
                let is_own = matches!(it.code, KeyCode::Enter) && it.modifiers == NONE;
                let found = bound.find_binding(it.modifiers, it.code);
                assert!(is_own || found.is_some(), "{}", it.name);
            }
        }
    }

    #[test]
    fn keys_have_room_in_help() {
        assert!(told().all(|(name, help)| name.len() <= 10 && help.len() <= 60));
    }
}

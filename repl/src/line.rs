//! The editor of lines: what it completes, hints at, colours and takes for whole.
//!
//! All of it is read from the [`lexicon`](crate::shell::lexicon). `place` says where in a script the cursor
//! stands and `types` what type a value has; `complete` is a function of a lexicon, a line and a place in
//! it. `files` looks for files, `hint` for what may come next, `colour` paints, `whole` knows whether a
//! text is complete, `keys` is the table of keys, `vi` those of vi in the right order, and `desk` lets another program edit a text.

pub(crate) mod colour;
mod complete;
mod desk;
mod files;
mod hint;
pub(crate) mod keys;
mod place;
mod types;
mod vi;
mod whole;

use crossterm::cursor::SetCursorStyle;
use nu_ansi_term::{Color, Style};
use reedline::{
    CursorConfig, DescriptionMode, IdeMenu, InputMode, MenuBuilder, Reedline, ReedlineMenu,
};

use crate::shell::lexicon::Shared;
use crate::shell::look::Look;
use colour::Colours;
use complete::Words;
use desk::Desk;
pub(crate) use desk::tidy;
use hint::Hints;
use keys::MENU;
pub(crate) use keys::{Keys, edit_mode, told as keys_told};
use whole::Whole;
pub(crate) use whole::is_whole;

/// How many lines the menu takes at most.
const MENU_LINES: u16 = 10;

/// An editor that knows what can be said.
pub(crate) fn equipped(editor: Reedline, keys: Keys, lexicon: &Shared, look: Look) -> Reedline {
    let desk = Desk::new();
    let editor = match &desk {
        Some(desk) => editor.with_buffer_editor(desk.opener(), desk.file()),
        None => editor,
    };
    let is_on = look.paint.is_on();
    editor
        .with_ansi_colors(is_on)
        .with_highlighter(Box::new(Colours { lexicon: lexicon.clone(), is_on }))
        .with_visual_selection_style(if is_on { Style::new().reverse() } else { Style::new() })
        .with_validator(Box::new(Whole))
        .with_completer(Box::new(Words(lexicon.clone())))
        .with_hinter(Box::new(Hints::new(lexicon, desk)))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu(look))))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .use_bracketed_paste(true)
        .with_cursor_config(cursors())
        .with_edit_mode(edit_mode(keys))
}

/// The names at the cursor, and beside them what is said of the chosen one.
fn menu(look: Look) -> IdeMenu {
    let width = u16::try_from(look.width).unwrap_or(u16::MAX);
    let [chosen, plain, help, found, chosen_found] = match look.paint.is_on() {
        true => [
            Style::new().reverse(),
            Style::new(),
            Color::Cyan.normal(),
            Style::new().bold(),
            Style::new().bold().reverse(),
        ],
        false => [Style::new(); 5],
    };
    IdeMenu::default()
        .with_name(MENU)
        .with_marker("> ")
        .with_input_mode(InputMode::FullBuffer)
        .with_text_style(plain)
        .with_selected_text_style(chosen)
        .with_description_text_style(help)
        .with_match_text_style(found)
        .with_selected_match_text_style(chosen_found)
        .with_max_completion_width(width * 2 / 5)
        .with_max_completion_height(MENU_LINES)
        .with_description_mode(DescriptionMode::PreferRight)
        .with_min_description_width(width / 4)
        .with_max_description_width((width / 2).min(80))
        .with_max_description_height(MENU_LINES)
        .with_description_offset(2)
        .with_correct_cursor_pos(true)
}

/// A bar where is written, a block where vi takes commands.
fn cursors() -> CursorConfig {
    CursorConfig {
        vi_insert: Some(SetCursorStyle::SteadyBar),
        vi_normal: Some(SetCursorStyle::SteadyBlock),
        emacs: Some(SetCursorStyle::DefaultUserShape),
        ..CursorConfig::default()
    }
}

//! Natives that could do much in one step, between two looks at the budget, as they may be used.

use rhai::{Engine, EvalAltResult, ImmutableString, Position};

/// The longest text that a policy may make, in bytes.
pub(super) const TEXT_MAX: usize = 64 * 1024;

type Done = Result<(), Box<EvalAltResult>>;

/// Gives scripts `replace`, which looks at how long the text will be before it makes it.
pub(super) fn teach(engine: &mut Engine) {
    engine.register_fn("replace", |text: &mut ImmutableString, find: &str, with: &str| {
        replace(text, find, with)
    });
    engine.register_fn("replace", |text: &mut ImmutableString, find: char, with: char| {
        replace(text, find.encode_utf8(&mut [0; 4]), with.encode_utf8(&mut [0; 4]))
    });
    engine.register_fn("replace", |text: &mut ImmutableString, find: &str, with: char| {
        replace(text, find, with.encode_utf8(&mut [0; 4]))
    });
    engine.register_fn("replace", |text: &mut ImmutableString, find: char, with: &str| {
        replace(text, find.encode_utf8(&mut [0; 4]), with)
    });
}

fn replace(text: &mut ImmutableString, find: &str, with: &str) -> Done {
    if find.is_empty() {
        return Ok(());
    }
    let found = text.matches(find).count();
    if text.len() + found.saturating_mul(with.len()) > TEXT_MAX {
        let message = "Length of string".to_owned();
        return Err(EvalAltResult::ErrorDataTooLarge(message, Position::NONE).into());
    }
    *text = text.replace(find, with).into();
    Ok(())
}

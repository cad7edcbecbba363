//! Environment variables.

use rhai::plugin::*;

/// Its words in `host::`.
#[export_module]
pub mod words {
    use rhai::{Dynamic, NativeCallContext};

    use crate::native::{Said, Session};

    /// The value of an environment variable, or `()` if it is not set.
    ///
    /// ```rhai
    /// host::get_env("SURELY_NOT_SET") == ()
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn get_env(ctx: NativeCallContext<'_>, key: &str) -> Said<Dynamic> {
        if let Some(value) = Session::of(&ctx)?.env.borrow().get(key) {
            return Ok(value.clone().into());
        }
        // The standard library panics on such keys in some versions.
        if key.is_empty() || key.contains(['=', '\0']) {
            return Ok(Dynamic::UNIT);
        }
        Ok(std::env::var_os(key).map_or(Dynamic::UNIT, |it| it.to_string_lossy().as_ref().into()))
    }

    /// Sets an environment variable for the rest of this script.
    ///
    /// ```rhai
    /// { host::set_env("COLOUR", "red"); host::get_env("COLOUR") == "red" }
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn set_env(ctx: NativeCallContext<'_>, key: &str, value: &str) -> Said<()> {
        Session::of(&ctx)?.env.borrow_mut().insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}

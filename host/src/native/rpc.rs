//! Calls to the server.

use rhai::plugin::*;

/// Its words in `host::`.
#[export_module]
pub mod words {
    use rhai::{Array, Dynamic, NativeCallContext};
    use serde_json::Value;

    use crate::native::{Said, Session, bad_argument, thrown};

    /// Calls a method of the server and returns its result. What the server refuses is thrown, with
    /// `code`, `message` and `hint`.
    ///
    /// ```rhai,server
    /// host::ask("system.ping", []).message == "pong"
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn ask(ctx: NativeCallContext<'_>, method: &str, params: Array) -> Said<Dynamic> {
        let params: Value = rhai::serde::from_dynamic(&params.into())
            .map_err(|it| bad_argument(format!("`{method}` cannot be given this: {it}")))?;
        let result = Session::of(&ctx)?.call(method, params).map_err(thrown)?;
        rhai::serde::to_dynamic(result)
    }
}

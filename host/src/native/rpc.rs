//! Calls to the server.

use rhai::plugin::*;

/// Its words in `host::`.
#[export_module]
pub mod words {
    use rhai::{Dynamic, NativeCallContext};
    use serde_json::Value;

    use crate::native::{Said, Session, bad_argument, thrown};

    /// Calls a method of the server with an array of parameters, or a map of named ones, and returns
    /// its result. What the server refuses is thrown, with `code`, `message` and `hint`.
    ///
    /// ```rhai,server
    /// host::ask("system.ping", []).message == "pong"
    /// host::ask("service.is_running", #{ name: "web" })
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn ask(ctx: NativeCallContext<'_>, method: &str, params: Dynamic) -> Said<Dynamic> {
        let params: Value = rhai::serde::from_dynamic(&params)
            .map_err(|it| bad_argument(format!("`{method}` cannot be given this: {it}")))?;
        let result = Session::of(&ctx)?.call(method, params).map_err(thrown)?;
        rhai::serde::to_dynamic(result)
    }
}

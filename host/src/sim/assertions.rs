//! What tests say beside `sim`: that something holds.

use rhai::EvalAltResult;

use crate::native::thrown;
use crate::refusal::{Kind, Refusal};

fn failed(why: &str) -> Box<EvalAltResult> {
    thrown(Refusal::new(Kind::BadArgument, why))
}

/// What tests say beside it.
#[rhai::plugin::export_module]
pub mod words {
    use rhai::{Dynamic, NativeCallContext};

    use super::failed;
    use crate::native::Said;

    /// Ends the test unless this holds.
    ///
    /// ```rhai
    /// assert(1 + 1 == 2) == ()
    /// ```
    #[rhai_fn(name = "assert", return_raw)]
    pub fn assert_it(holds: bool) -> Said<()> {
        holds.then_some(()).ok_or_else(|| failed("it does not hold"))
    }

    /// Ends the test unless this holds, with a sentence about it.
    ///
    /// ```rhai
    /// assert(1 + 1 == 2, "sums are wrong") == ()
    /// ```
    #[rhai_fn(name = "assert", return_raw)]
    pub fn assert_why(holds: bool, why: &str) -> Said<()> {
        holds.then_some(()).ok_or_else(|| failed(why))
    }

    /// Ends the test unless both are equal, and shows them.
    ///
    /// ```rhai
    /// assert_eq([1, 2], [1, 2]) == ()
    /// ```
    #[rhai_fn(return_raw)]
    pub fn assert_eq(ctx: NativeCallContext<'_>, got: Dynamic, wanted: Dynamic) -> Said<()> {
        let equal =
            ctx.call_native_fn_raw("==", true, &mut [&mut got.clone(), &mut wanted.clone()])?;
        let shown = |it: &Dynamic| {
            if it.is_string() { format!("{:?}", it.to_string()) } else { it.to_string() }
        };
        if equal.as_bool() == Ok(true) {
            return Ok(());
        }
        Err(failed(&format!("{} is not {}", shown(&got), shown(&wanted))))
    }
}

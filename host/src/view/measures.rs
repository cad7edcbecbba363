//! Durations and sizes as users write them in labels, for policies that read them.

use rhai::{Engine, EvalAltResult, Position};

use crate::spec;

type Made = Result<i64, Box<EvalAltResult>>;

/// Gives scripts the words: `duration_ms("5m")` and `bytes("512MiB")`.
pub(super) fn teach(engine: &mut Engine) {
    engine.register_fn("duration_ms", |text: &str| -> Made {
        spec::duration_ms(text).map_err(|why| wrong(text, "a duration", why))
    });
    engine.register_fn("bytes", |text: &str| -> Made {
        let bytes = spec::bytes(text).map_err(|why| wrong(text, "a size", why))?;
        Ok(i64::try_from(bytes).unwrap_or(i64::MAX))
    });
}

fn wrong(text: &str, what: &str, why: &str) -> Box<EvalAltResult> {
    let message = format!("`{text}` must be {what}: {why}");
    EvalAltResult::ErrorRuntime(message.into(), Position::NONE).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_duration_or_size_says_why() {
        let mut engine = crate::engine::pure();
        teach(&mut engine);
        assert_eq!(engine.eval::<i64>(r#"duration_ms("1.5s")"#).ok(), Some(1_500));
        assert_eq!(engine.eval::<i64>(r#"bytes("2k")"#).ok(), Some(2_048));
        let error = engine.eval::<i64>(r#"duration_ms("5 parsecs")"#).expect_err("it is none");
        let wanted = "`5 parsecs` must be a duration: its unit is not one of ms, s, m, h and d";
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

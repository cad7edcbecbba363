//! What the words of tests are given: names, times, ends of processes.

use rhai::{Dynamic, EvalAltResult};
use zinit_keeper::wire::Exit;

use crate::name::ServiceName;
use crate::native::{Said, thrown};
use crate::refusal::{Kind, Refusal};
use crate::spec::{duration_ms, signal_of};

pub(super) fn refused(message: impl Into<String>, hint: &str) -> Box<EvalAltResult> {
    thrown(Refusal::new(Kind::BadArgument, message).hint(hint))
}

pub(super) fn parsed(name: &str) -> Said<ServiceName> {
    ServiceName::parse(name).map_err(|it| thrown(it.into()))
}

/// Milliseconds: a number of them, or a text such as `"10s"`.
pub(super) fn milliseconds(value: &Dynamic) -> Said<i64> {
    let ms = match value.as_int() {
        Ok(ms) => Ok(ms),
        Err(_) => {
            duration_ms(&value.to_string()).map_err(|why| format!("`{value}` is no time: {why}"))
        }
    };
    let ms = ms.map_err(|it| refused(it, "milliseconds, or a text such as `\"10s\"`"))?;
    match ms {
        0.. => Ok(ms),
        _ => Err(refused(format!("time does not go back: {ms}"), "a time is 0 or more")),
    }
}

/// How a process ends.
pub(super) fn exit_of(how: &Dynamic) -> Said<Exit> {
    if let Ok(code) = how.as_int()
        && let Ok(code) = u8::try_from(code)
    {
        return Ok(Exit::Code(code.into()));
    }
    let text = how.to_string();
    if text == "unknown" {
        return Ok(Exit::Unknown);
    }
    let signal = signal_of(&text).filter(|_| how.is_string());
    let signal = signal.ok_or_else(|| {
        let message = format!("`{text}` is no end of a process");
        refused(message, "a code from 0 to 255, a signal such as \"SIGSEGV\", or \"unknown\"")
    })?;
    Ok(Exit::Signal { signal: signal as i32, core: false })
}

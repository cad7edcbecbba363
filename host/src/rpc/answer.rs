//! One line of JSON-RPC in, one line out. Batches and notifications as the specification has them.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jsonrpsee::types::ErrorObjectOwned;
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::args::Args;
use super::calls::said;
use super::follow::Follows;
use super::methods::{Act, METHODS, Method, Said, find};
use super::office::Office;
use crate::refusal::{Kind, Refusal, nearest};

/// An answer that is not there yet; empty if none is wanted.
pub(super) type Promise = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const TOO_LARGE: i32 = -32008;

/// Calls in one batch.
const BATCH_MAX: usize = 1000;
/// Bytes in the answer to one batch.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One call, borrowed from its line.
#[derive(Deserialize)]
pub(super) struct Call<'a> {
    #[serde(borrow, default)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) method: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
    /// Nothing for a notification; `null` is an id.
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) id: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl<'a> Call<'a> {
    /// Parses one call.
    ///
    /// # Errors
    /// The error to answer.
    pub(super) fn parse(text: &'a str) -> Result<Self, ErrorObjectOwned> {
        let call: Self = serde_json::from_str(text).map_err(|it| unparsed(&it))?;
        if call.jsonrpc != "2.0" {
            return Err(fault(INVALID_REQUEST, "no request: `jsonrpc` must be \"2.0\""));
        }
        match call.id.map(|it| it.get().as_bytes()) {
            None | Some([b'"' | b'-' | b'0'..=b'9', ..] | b"null") => Ok(call),
            Some(_) => {
                Err(fault(INVALID_REQUEST, "no request: `id` must be a string, a number or null"))
            }
        }
    }

    /// Finds the method and checks the parameters.
    pub(super) fn bound(&self) -> Result<(&'static Method, Args), ErrorObjectOwned> {
        let Some(method) = find(&self.method) else { return Err(no_method(&self.method)) };
        Args::bind(method, self.params).map(|it| (method, it)).map_err(error_object)
    }
}

/// Appends the answer to `out`, or promises it. `follows` are those of the connection.
pub(super) fn answer(
    office: &Arc<Office>,
    follows: &mut Follows,
    line: &str,
    out: &mut Vec<u8>,
) -> Option<Promise> {
    if line.trim_start().starts_with('[') {
        batch(office, line, out)
    } else {
        single(office, Some(follows), line, out)
    }
}

fn single(
    office: &Arc<Office>,
    follows: Option<&mut Follows>,
    text: &str,
    out: &mut Vec<u8>,
) -> Option<Promise> {
    let call = match Call::parse(text) {
        Ok(call) => call,
        Err(error) => {
            write_error(out, "null", &error);
            return None;
        }
    };
    let (method, args) = match call.bound() {
        Ok(bound) => bound,
        Err(error) => {
            call.id.into_iter().for_each(|id| write_error(out, id.get(), &error));
            return None;
        }
    };
    match method.act {
        Act::Now(act) => {
            let said = act(office, &args);
            call.id.into_iter().for_each(|id| write(out, id.get(), &said));
            None
        }
        Act::Later(act) => {
            let (pending, id) = (act(Arc::clone(office), args), call.id.map(ToOwned::to_owned));
            Some(Box::pin(async move {
                let (said, mut out) = (pending.await, Vec::new());
                id.iter().for_each(|id| write(&mut out, id.get(), &said));
                out
            }))
        }
        Act::Follow | Act::Unfollow => {
            let said = followed(office, follows, method.act, &args);
            call.id.into_iter().for_each(|id| write(out, id.get(), &said));
            None
        }
    }
}

/// Begins or ends a subscription.
fn followed(office: &Arc<Office>, follows: Option<&mut Follows>, act: Act, args: &Args) -> Said {
    // Its answer is to be there before its first notification.
    let Some(follows) = follows else {
        let message = "a subscription cannot begin or end in a batch";
        return Err(Refusal::new(Kind::BadArgument, message).hint("call it alone"));
    };
    match act {
        Act::Follow => said(&follows.begin(office, args)?),
        _ => said(&follows.end(args.count(0) as u64)),
    }
}

/// A part of the answer to a batch.
enum Part {
    Done(Vec<u8>),
    Promised(Promise),
}

fn batch(office: &Arc<Office>, line: &str, out: &mut Vec<u8>) -> Option<Promise> {
    let parts = match parts(office, line) {
        Ok(parts) => parts,
        Err(error) => {
            write_error(out, "null", &error);
            return None;
        }
    };
    if parts.iter().any(|it| matches!(it, Part::Promised(_))) {
        return Some(Box::pin(async move {
            let mut out = Vec::new();
            for part in parts {
                append(&mut out, &part.settled().await);
            }
            close(&mut out);
            out
        }));
    }
    let begin = out.len();
    let mut answers = out.split_off(begin);
    for part in &parts {
        if let Part::Done(text) = part {
            append(&mut answers, text);
        }
    }
    close(&mut answers);
    out.append(&mut answers);
    None
}

impl Part {
    async fn settled(self) -> Vec<u8> {
        match self {
            Self::Done(text) => text,
            Self::Promised(promise) => promise.await,
        }
    }
}

fn parts(office: &Arc<Office>, line: &str) -> Result<Vec<Part>, ErrorObjectOwned> {
    let calls: Vec<&RawValue> = serde_json::from_str(line).map_err(|it| unparsed(&it))?;
    if calls.is_empty() {
        return Err(fault(INVALID_REQUEST, "no request: the batch is empty"));
    }
    if calls.len() > BATCH_MAX {
        return Err(fault(INVALID_REQUEST, &format!("a batch has at most {BATCH_MAX} requests")));
    }
    let (mut parts, mut bytes) = (Vec::with_capacity(calls.len()), 0);
    for call in calls {
        let mut out = Vec::new();
        let promise = single(office, None, call.get(), &mut out);
        bytes += out.len();
        if bytes > BATCH_BYTES_MAX {
            let message = "the answer to the batch is larger than 16 MiB; ask for less at once";
            return Err(fault(TOO_LARGE, message));
        }
        parts.push(promise.map_or(Part::Done(out), Part::Promised));
    }
    Ok(parts)
}

/// Adds an answer to those of a batch; a notification has none.
fn append(out: &mut Vec<u8>, answer: &[u8]) {
    if !answer.is_empty() {
        out.push(if out.is_empty() { b'[' } else { b',' });
        out.extend_from_slice(answer);
    }
}

/// Ends the answers of a batch, if there are any.
fn close(out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b']');
    }
}

fn write(out: &mut Vec<u8>, id: &str, said: &Said) {
    match said {
        Ok(result) => {
            out.extend_from_slice(br#"{"jsonrpc":"2.0","result":"#);
            out.extend_from_slice(result.get().as_bytes());
            end(out, id);
        }
        Err(refusal) => write_error(out, id, &error_object(refusal.clone())),
    }
}

/// Appends the answer that something went wrong.
pub(super) fn write_error(out: &mut Vec<u8>, id: &str, error: &ErrorObjectOwned) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","error":"#);
    serde_json::to_writer(&mut *out, error).expect("a vector takes everything");
    end(out, id);
}

fn end(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(br#","id":"#);
    out.extend_from_slice(id.as_bytes());
    out.push(b'}');
}

/// The refusal as it crosses the wire.
pub(super) fn error_object(refusal: Refusal) -> ErrorObjectOwned {
    let Refusal { kind, message, hint, mut data } = refusal;
    data.insert("reason".into(), kind.word().into());
    data.extend(hint.map(|it| ("hint".to_owned(), Value::from(it))));
    ErrorObjectOwned::owned(kind.code(), message, Some(data))
}

/// The error for a line that is too long.
pub(super) fn too_long(bytes_max: usize) -> ErrorObjectOwned {
    fault(INVALID_REQUEST, &format!("a request has at most {bytes_max} bytes"))
}

/// The error for a line that is not UTF-8.
pub(super) fn not_text() -> ErrorObjectOwned {
    fault(PARSE_ERROR, "no JSON: the line is not UTF-8")
}

fn fault(code: i32, message: &str) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, None::<()>)
}

fn unparsed(error: &serde_json::Error) -> ErrorObjectOwned {
    match error.classify() {
        Category::Data => fault(INVALID_REQUEST, &format!("no request: {error}")),
        _ => fault(PARSE_ERROR, &format!("no JSON: {error}")),
    }
}

fn no_method(name: &str) -> ErrorObjectOwned {
    let name: String = name.chars().take(80).collect();
    let hint = match nearest(&name, METHODS.iter().map(|it| it.name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`rpc.discover` describes the methods there are".to_owned(),
    };
    let data = json!({ "reason": "unknown_method", "hint": hint });
    ErrorObjectOwned::owned(METHOD_NOT_FOUND, format!("there is no method `{name}`"), Some(data))
}

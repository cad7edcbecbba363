//! The first bytes of a connection: what it speaks and, over TCP, whether it may.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::answer::{Call, error_object, write_error};
use super::token::Token;
use crate::refusal::{Kind, Refusal};

/// What a connection speaks, with the bytes that have been read and are still to be served.
#[derive(Debug)]
pub(super) enum Speech {
    /// Newline-delimited JSON.
    Ndjson(Vec<u8>),
    /// HTTP, perhaps with an upgrade to WebSocket.
    Http(Vec<u8>),
    /// Nothing more: it went away or was sent away.
    None,
}

/// How long a stranger may take to show the token.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much a stranger may say before.
const GREETING_MAX: usize = 16 * 1024;

/// Reads until it is clear what the client speaks: JSON begins with a bracket.
pub(super) async fn sniff(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Speech> {
    let mut first = Vec::new();
    loop {
        let blanks = first.iter().take_while(|it: &&u8| it.is_ascii_whitespace()).count();
        first.drain(..blanks);
        match first.first().copied() {
            Some(b'{' | b'[') => return Ok(Speech::Ndjson(first)),
            Some(_) => return Ok(Speech::Http(first)),
            None if stream.read_buf(&mut first).await? == 0 => return Ok(Speech::None),
            None => {}
        }
    }
}

/// As [`sniff`], for a client that must show the token: as bearer of the first HTTP request, or by
/// `system.authenticate` as the first line.
pub(super) async fn admit<S>(stream: &mut S, token: &Token) -> io::Result<Speech>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(PATIENCE, greeted(stream, token)).await {
        Ok(speech) => speech,
        Err(_) => Ok(Speech::None),
    }
}

async fn greeted<S>(stream: &mut S, token: &Token) -> io::Result<Speech>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match sniff(stream).await? {
        Speech::Ndjson(first) => by_line(stream, first, token).await,
        Speech::Http(first) => by_header(stream, first, token).await,
        Speech::None => Ok(Speech::None),
    }
}

async fn by_line<S>(stream: &mut S, mut first: Vec<u8>, token: &Token) -> io::Result<Speech>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(end) = read_until(stream, &mut first, b"\n").await? else { return Ok(Speech::None) };
    let rest = first.split_off(end);
    let (mut out, admitted) = verdict(&first, token);
    out.push(b'\n');
    stream.write_all(&out).await?;
    Ok(if admitted { Speech::Ndjson(rest) } else { Speech::None })
}

/// The answer to the first line, and whether it showed the token.
fn verdict(line: &[u8], token: &Token) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let call = std::str::from_utf8(line).ok().and_then(|it| Call::parse(it).ok());
    let id = call.as_ref().and_then(|it| it.id).map_or("null", |it| it.get());
    let bound = call.as_ref().and_then(|it| it.bound().ok());
    let admitted = bound.is_some_and(|(method, args)| {
        method.name == "system.authenticate" && token.is(args.text(0))
    });
    if admitted {
        out.extend_from_slice(br#"{"jsonrpc":"2.0","result":true,"id":"#);
        out.extend_from_slice(id.as_bytes());
        out.push(b'}');
    } else {
        write_error(&mut out, id, &error_object(stranger()));
    }
    (out, admitted)
}

fn stranger() -> Refusal {
    Refusal::new(Kind::Forbidden, "whoever comes over TCP must show the token first")
        .hint("call `system.authenticate` with what the file `token` holds, before anything else")
}

async fn by_header<S>(stream: &mut S, mut first: Vec<u8>, token: &Token) -> io::Result<Speech>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(end) = read_until(stream, &mut first, b"\r\n\r\n").await? else {
        return Ok(Speech::None);
    };
    if bears(&first[..end], token) {
        // One request for one token: whoever shares this connection has not shown it.
        first.splice(end - 2..end - 2, *b"Connection: close\r\n");
        return Ok(Speech::Http(first));
    }
    stream
        .write_all(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Type: text/plain\r\n\
              Connection: close\r\nContent-Length: 43\r\n\r\n\
              whoever comes over TCP must show the token\n",
        )
        .await?;
    Ok(Speech::None)
}

fn bears(head: &[u8], token: &Token) -> bool {
    String::from_utf8_lossy(head).split("\r\n").skip(1).any(|line| {
        let Some((name, value)) = line.split_once(':') else { return false };
        let Some((scheme, shown)) = value.trim().split_once(' ') else { return false };
        name.eq_ignore_ascii_case("authorization")
            && scheme.eq_ignore_ascii_case("bearer")
            && token.is(shown.trim())
    })
}

/// Reads until `mark` has come; answers the index behind it, or `None` when it does not come.
async fn read_until(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    mark: &[u8],
) -> io::Result<Option<usize>> {
    loop {
        if let Some(begin) = bytes.windows(mark.len()).position(|it| it == mark) {
            return Ok(Some(begin + mark.len()));
        }
        if bytes.len() > GREETING_MAX || stream.read_buf(bytes).await? == 0 {
            return Ok(None);
        }
    }
}

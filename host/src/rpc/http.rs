//! One connection that speaks HTTP or WebSocket: jsonrpsee, over the table of methods.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use jsonrpsee::RpcModule;
use jsonrpsee::server::{
    BatchRequestConfig, Methods, RegisterMethodError, ServerBuilder, ServerConfig, StopHandle,
    serve_with_graceful_shutdown,
};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::error_object;
use super::args::Args;
use super::methods::{Act, METHODS, Method, Said};
use super::office::Office;

/// The largest request, as for newline-delimited JSON.
const REQUEST_MAX: u32 = 4 * 1024 * 1024;
const RESPONSE_MAX: u32 = 16 * 1024 * 1024;

/// The table, as jsonrpsee wants it.
///
/// # Errors
/// When two methods have one name.
pub(super) fn module(office: &Arc<Office>) -> Result<Methods, RegisterMethodError> {
    let mut module = RpcModule::from_arc(Arc::clone(office));
    for method in METHODS {
        match method.act {
            Act::Now(act) => module.register_method(method.name, move |params, office, _| {
                sent(bound(method, &params).and_then(|args| act(office, &args)))
            })?,
            Act::Later(act) => {
                module.register_async_method(method.name, move |params, office, _| async move {
                    match bound(method, &params) {
                        Ok(args) => sent(act(office, args).await),
                        Err(refusal) => sent(Err(refusal)),
                    }
                })?
            }
        };
    }
    Ok(module.into())
}

/// Serves one connection until the client goes or `stop` says so.
pub(super) async fn serve<S>(io: S, methods: Methods, stop: StopHandle)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = ServerConfig::builder()
        .max_request_body_size(REQUEST_MAX)
        .max_response_body_size(RESPONSE_MAX)
        .set_batch_request_config(BatchRequestConfig::Limit(1000))
        .build();
    let builder = ServerBuilder::with_config(config).to_service_builder();
    let service = builder.build(methods, stop.clone());
    // What goes wrong here is the client's affair, and it knows.
    let _ = serve_with_graceful_shutdown(io, service, stop.shutdown()).await;
}

fn bound(method: &Method, params: &Params<'_>) -> Result<Args, crate::refusal::Refusal> {
    let text: Option<&RawValue> = params.as_str().and_then(|it| serde_json::from_str(it).ok());
    Args::bind(method, text)
}

fn sent(said: Said) -> Result<Arc<RawValue>, ErrorObjectOwned> {
    said.map_err(error_object)
}

/// A stream of which the first bytes have been read already. It keeps `place`, the connection's place
/// among those that are allowed, for as long as it lives.
pub(super) struct Rewound<S, P> {
    first: Vec<u8>,
    stream: S,
    _place: P,
}

impl<S, P> Rewound<S, P> {
    pub(super) fn new(first: Vec<u8>, stream: S, place: P) -> Self {
        Self { first, stream, _place: place }
    }
}

impl<S: AsyncRead + Unpin, P: Unpin> AsyncRead for Rewound<S, P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..count]);
        self.first.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, P: Unpin> AsyncWrite for Rewound<S, P> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

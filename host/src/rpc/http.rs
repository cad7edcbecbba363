//! One connection that speaks HTTP or WebSocket: jsonrpsee, over the table of methods.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use jsonrpsee::core::SubscriptionError;
use jsonrpsee::server::{
    BatchRequestConfig, Methods, RegisterMethodError, ServerBuilder, ServerConfig, StopHandle,
    serve_with_graceful_shutdown,
};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use jsonrpsee::{PendingSubscriptionSink, RpcModule};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::error_object;
use super::args::Args;
use super::follow::{Follower, NOTIFICATION};
use super::methods::{Act, METHODS, Method, Said};
use super::office::Office;

/// The largest request, as for newline-delimited JSON.
const REQUEST_MAX: u32 = 4 * 1024 * 1024;
const RESPONSE_MAX: u32 = 16 * 1024 * 1024;
/// Messages that wait for a client to read them; one may be a page of log lines.
const MESSAGES_MAX: u32 = 2;
const SUBSCRIPTIONS_MAX: u32 = 16;
/// What ends a subscription.
const UNFOLLOW: &str = "logs.unfollow";

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
            Act::Follow => module.register_subscription(
                method.name,
                NOTIFICATION,
                UNFOLLOW,
                move |params, pending, office, _| async move {
                    match bound(method, &params).and_then(|args| Follower::of(&office, &args)) {
                        Ok(follower) => feed(&office, follower, pending).await,
                        Err(refusal) => {
                            pending.reject(error_object(refusal)).await;
                            Ok(())
                        }
                    }
                },
            )?,
            // It came with the other one.
            Act::Unfollow => continue,
        };
    }
    Ok(module.into())
}

/// Sends page after page until the client or the office goes. The next one is read when there is room
/// for it.
async fn feed(
    office: &Office,
    mut follower: Follower,
    pending: PendingSubscriptionSink,
) -> Result<(), SubscriptionError> {
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let pages = async {
        loop {
            let page = follower.next().await?;
            if sink.send(RawValue::to_owned(&page.told)).await.is_err() {
                return Ok(());
            }
        }
    };
    let (mut pages, mut gone, mut closed) =
        (pin!(pages), pin!(sink.closed()), pin!(office.closed()));
    poll_fn(|cx| {
        if gone.as_mut().poll(cx).is_ready() || closed.as_mut().poll(cx).is_ready() {
            Poll::Ready(Ok(()))
        } else {
            pages.as_mut().poll(cx)
        }
    })
    .await
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
        .set_message_buffer_capacity(MESSAGES_MAX)
        .max_subscriptions_per_connection(SUBSCRIPTIONS_MAX)
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

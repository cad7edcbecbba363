//! One connection that speaks newline-delimited JSON.
//!
//! It is a state machine in one task: calls that only read are answered in place and in order, the
//! answers to all lines of one read go out in one write, and calls that take their time are tasks of
//! their own, so that later calls overtake them. Idle, a connection owns no buffer.
//!
//! Answers and notifications share the connection, each a line; whoever writes is this task alone. A
//! follower goes on when all has been sent, so a client that does not read holds up itself only.
//! Subscriptions end when the client has said all.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};

use super::answer::{answer, not_text, too_long, write_error};
use super::follow::Follows;
use super::lookout::{Lookout, look_again};
use super::office::Office;

/// The connection.
pub(super) struct Connection<S> {
    office: Arc<Office>,
    stream: S,
    input: Vec<u8>,
    /// This much of `input` has no newline.
    searched: usize,
    output: Vec<u8>,
    /// This much of `output` is with the client.
    sent: usize,
    later: JoinSet<Vec<u8>>,
    follows: Follows,
    phase: Phase,
    office_closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    lookout: Lookout,
}

/// What one read takes at most, and an idle buffer keeps.
const READ: usize = 16 * 1024;

enum Phase {
    Open,
    /// Nothing more is read; what was asked is answered.
    Ending,
    /// The client broke a rule and has been told; what it still sends is thrown away for a moment,
    /// since closing at once could take the message from it.
    Expelled(Pin<Box<Sleep>>),
}

/// Why no more lines are answered for now.
#[derive(PartialEq, Eq)]
enum Pause {
    NoLine,
    /// Answers must go out first, or pending ones come in.
    Full,
    /// Others are to have their turn.
    Enough,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Longer requests are refused.
    pub(super) const LINE_MAX: usize = 4 * 1024 * 1024;
    /// No further line is answered while this much waits to be sent.
    const OUTPUT_MAX: usize = 64 * 1024;
    /// Calls in flight.
    const LATER_MAX: usize = 64;
    /// Lines answered before others have their turn.
    const TURN: usize = 128;
    const EXPELLED_FOR: Duration = Duration::from_secs(1);

    /// A connection whose client has already sent `input`.
    pub(super) fn new(office: &Arc<Office>, stream: S, input: Vec<u8>) -> Self {
        Self {
            office: Arc::clone(office),
            stream,
            input,
            searched: 0,
            output: Vec::new(),
            sent: 0,
            later: JoinSet::new(),
            follows: Follows::default(),
            phase: Phase::Open,
            office_closed: Box::pin(office.closed()),
            lookout: Lookout::new(&office.lookout),
        }
    }

    /// Serves until the client goes, breaks a rule, or the office closes.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(super) async fn serve(mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.phase, Phase::Open) && self.office_closed.as_mut().poll(cx).is_ready() {
            // What has come before that is answered.
            let _ = self.poll_read_or_look(cx)?;
            self.phase = Phase::Ending;
        }
        loop {
            let pause = self.answer_lines();
            self.collect(cx);
            ready!(self.poll_send(cx))?;
            let goes_on = matches!(self.phase, Phase::Open) && self.follows.go_on();
            match pause {
                Pause::Enough => return look_again(cx),
                // To be woken by them.
                _ if goes_on => continue,
                Pause::Full if self.later.len() < Self::LATER_MAX => continue,
                Pause::Full => return Poll::Pending,
                Pause::NoLine => {}
            }
            match &mut self.phase {
                Phase::Ending if self.later.is_empty() => return Poll::Ready(Ok(())),
                Phase::Ending => return Poll::Pending,
                Phase::Expelled(until) => {
                    if until.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Phase::Open => {}
            }
            ready!(self.poll_read_or_look(cx))?;
        }
    }

    /// Takes the answers of calls that took their time and what followers have read, and asks to be
    /// woken by the others.
    fn collect(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(done)) = self.later.poll_join_next(cx) {
            let begin = self.output.len();
            self.output.extend(done.unwrap_or_default());
            self.end_line(begin);
        }
        self.follows.collect(cx, &mut self.output);
    }

    fn answer_lines(&mut self) -> Pause {
        let input = std::mem::take(&mut self.input);
        let (mut begin, mut answered) = (0, 0);
        let pause = loop {
            if self.output.len() >= Self::OUTPUT_MAX || self.later.len() >= Self::LATER_MAX {
                break Pause::Full;
            }
            let unsearched = begin + std::mem::take(&mut self.searched);
            let Some(length) = input[unsearched..].iter().position(|it| *it == b'\n') else {
                self.searched = input.len() - begin;
                break Pause::NoLine;
            };
            let end = unsearched + length;
            if answered == Self::TURN {
                break Pause::Enough;
            }
            self.answer_line(&input[begin..end]);
            begin = end + 1;
            answered += 1;
        };
        if answered > 0 {
            self.lookout.renew();
        }
        self.keep(input, begin);
        pause
    }

    /// Puts back what was not answered, and refuses it when it is too long.
    fn keep(&mut self, mut input: Vec<u8>, answered: usize) {
        input.drain(..answered);
        if self.searched > Self::LINE_MAX {
            self.expel();
        } else if !input.is_empty() || input.capacity() <= READ {
            self.input = input;
        }
    }

    fn answer_line(&mut self, line: &[u8]) {
        let begin = self.output.len();
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match std::str::from_utf8(line) {
            Ok(text) => {
                let promise = answer(&self.office, &mut self.follows, text, &mut self.output);
                promise.into_iter().for_each(|it| drop(self.later.spawn(it)));
            }
            Err(_) => write_error(&mut self.output, "null", &not_text()),
        }
        self.end_line(begin);
    }

    fn end_line(&mut self, begin: usize) {
        if self.output.len() > begin {
            self.output.push(b'\n');
        }
    }

    fn expel(&mut self) {
        self.searched = 0;
        write_error(&mut self.output, "null", &too_long(Self::LINE_MAX));
        self.output.push(b'\n');
        self.phase = Phase::Expelled(Box::pin(sleep(Self::EXPELLED_FOR)));
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.output.len() {
            let stream = Pin::new(&mut self.stream);
            let count = ready!(stream.poll_write(cx, &self.output[self.sent..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        self.sent = 0;
        self.output.clear();
        self.output.shrink_to(READ);
        Poll::Ready(Ok(()))
    }

    fn poll_read_or_look(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        if Pin::new(&mut self.stream).poll_read(cx, &mut buffer)?.is_pending() {
            if self.lookout.goes_on() {
                return look_again(cx);
            }
            self.release();
            return Poll::Pending;
        }
        self.lookout.leave();
        let received = buffer.filled();
        match self.phase {
            _ if received.is_empty() => self.finish(),
            Phase::Open => self.input.extend_from_slice(received),
            Phase::Ending | Phase::Expelled(_) => {}
        }
        Poll::Ready(Ok(()))
    }

    /// The client has said all: a last line may do without its newline.
    fn finish(&mut self) {
        if !self.input.is_empty() {
            self.input.push(b'\n');
        }
        self.phase = Phase::Ending;
    }

    /// Gives back the memory of empty buffers.
    fn release(&mut self) {
        if self.input.is_empty() {
            self.input = Vec::new();
            self.output = Vec::new();
        }
    }
}

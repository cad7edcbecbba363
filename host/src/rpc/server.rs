//! Listens, counts connections, and stops.
//!
//! ```text
//! let doors = Doors::open(&home.socket)?.and_tcp(tcp_address("4000")?, &token_file)?;
//! // clients can connect from here on; they wait until `serve` runs
//! let office = Office::new(board, desk, logs, store, chronicle, faces, stop.subscribe());
//! runtime.block_on(serve(office, doors))?;   // until `stop.send_replace(true)`
//! ```

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::server::{Methods, StopHandle, stop_channel};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::unistd::geteuid;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::answer::{error_object, write_error};
use super::greet::{Speech, admit, sniff};
use super::http::{self, Rewound};
use super::ndjson::Connection;
use super::office::Office;
use super::token::Token;
use crate::refusal::{Kind, Refusal};

/// Where clients come in. They may connect as soon as it is open; they are served by [`serve`].
#[derive(Debug)]
pub struct Doors {
    socket: PathBuf,
    unix: StdUnixListener,
    tcp: Option<(StdTcpListener, Token)>,
}

impl Doors {
    /// Opens the Unix socket, with mode 0600. A socket file that nobody listens on is replaced.
    ///
    /// # Errors
    /// When a server answers there, something else is in its place, or it cannot be made.
    pub fn open(socket: &Path) -> Result<Self, Refusal> {
        clear(socket)?;
        let unix = bound(socket).map_err(|error| blocked(socket, &error))?;
        Ok(Self { socket: socket.to_owned(), unix, tcp: None })
    }

    /// Opens a TCP port as well, for clients that show the token in this file.
    ///
    /// # Errors
    /// When the address cannot be bound or the token cannot be used.
    pub fn and_tcp(mut self, address: SocketAddr, token: &Path) -> Result<Self, Refusal> {
        let token = Token::load(token)?;
        let listener = StdTcpListener::bind(address)
            .and_then(|it| it.set_nonblocking(true).map(|()| it))
            .map_err(|error| {
                Refusal::new(Kind::Storage, format!("cannot listen on {address}: {error}"))
                    .with("address", address.to_string())
            })?;
        self.tcp = Some((listener, token));
        Ok(self)
    }

    /// The address that TCP clients connect to.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.0.local_addr().ok()
    }
}

/// What `--port` means: a port of this machine only, or an address and a port.
///
/// # Errors
/// When it is neither.
pub fn tcp_address(text: &str) -> Result<SocketAddr, Refusal> {
    let port = text.parse::<u16>().map(|it| SocketAddr::from((Ipv4Addr::LOCALHOST, it)));
    port.or_else(|_| text.parse()).map_err(|_| {
        Refusal::new(Kind::BadArgument, format!("`{text}` is no port and no address"))
            .hint("`4000` or `0.0.0.0:4000`")
    })
}

/// Serves until the office closes, then gives the connections a moment to take their answers: a second
/// when everything is down, less when the next server is waiting to serve.
/// Wants a runtime with I/O and time; one thread is enough.
///
/// # Errors
/// When the runtime cannot take the sockets over.
pub async fn serve(office: Arc<Office>, doors: Doors) -> Result<(), Refusal> {
    let failed = |error: &dyn std::fmt::Display| {
        Refusal::new(Kind::Internal, format!("cannot serve: {error}"))
    };
    let (stop, stopper) = stop_channel();
    let methods = http::module(&office).map_err(|it| failed(&it))?;
    let hall = Arc::new(Hall { office, methods, stop });
    let last_look = doors.unix.try_clone().map_err(|it| failed(&it))?;
    let unix = UnixListener::from_std(doors.unix).map_err(|it| failed(&it))?;
    let unix_places = Arc::new(Semaphore::new(Hall::UNIX_MAX));
    let tcp_places = Arc::new(Semaphore::new(Hall::TCP_MAX));
    let mut loops = vec![tokio::spawn(Arc::clone(&hall).open_unix(unix, Arc::clone(&unix_places)))];
    if let Some((tcp, token)) = doors.tcp {
        let tcp = TcpListener::from_std(tcp).map_err(|it| failed(&it))?;
        let open = Arc::clone(&hall).open_tcp(tcp, Arc::new(token), Arc::clone(&tcp_places));
        loops.push(tokio::spawn(open));
    }
    let mine = fs::symlink_metadata(&doors.socket).map(|it| it.ino()).ok();
    hall.office.closed().await;
    // Whoever comes from now on is to look for the next server; who is in has come in time.
    if mine.is_some() && fs::symlink_metadata(&doors.socket).map(|it| it.ino()).ok() == mine {
        let _ = fs::remove_file(&doors.socket);
    }
    loops.iter().for_each(tokio::task::JoinHandle::abort);
    while let Ok((stream, _)) = last_look.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
        stream.into_iter().for_each(|it| hall.welcome_unix(it, &unix_places));
    }
    let _ = stopper.stop();
    let _ = timeout(hall.patience(), async {
        let _ = unix_places.acquire_many(Hall::UNIX_MAX as u32).await;
        let _ = tcp_places.acquire_many(Hall::TCP_MAX as u32).await;
    })
    .await;
    Ok(())
}

/// What every connection shares.
struct Hall {
    office: Arc<Office>,
    methods: Methods,
    stop: StopHandle,
}

impl Hall {
    const UNIX_MAX: usize = 1024;
    const TCP_MAX: usize = 256;
    /// How long the connections get when everything is down, and when another server takes over.
    const FAREWELL: Duration = Duration::from_secs(1);
    const SUCCESSION: Duration = Duration::from_millis(50);
    /// How long one that has just come gets to say something when the office closes.
    const LAST_WORD: Duration = Duration::from_millis(5);
    /// How long to wait when the process has no descriptor left for a client.
    const BREATH: Duration = Duration::from_millis(50);

    fn patience(&self) -> Duration {
        if self.office.has_ended() { Self::FAREWELL } else { Self::SUCCESSION }
    }

    async fn open_unix(self: Arc<Self>, listener: UnixListener, places: Arc<Semaphore>) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.welcome_unix(stream, &places),
                Err(_) => sleep(Self::BREATH).await,
            }
        }
    }

    async fn open_tcp(
        self: Arc<Self>,
        listener: TcpListener,
        token: Arc<Token>,
        places: Arc<Semaphore>,
    ) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.welcome_tcp(stream, &token, &places),
                Err(_) => sleep(Self::BREATH).await,
            }
        }
    }

    fn welcome_unix(self: &Arc<Self>, mut stream: UnixStream, places: &Arc<Semaphore>) {
        let place = match is_ours(&stream).and_then(|()| place(places, Self::UNIX_MAX)) {
            Ok(place) => place,
            Err(refusal) => {
                let _ = stream.try_write(&farewell(refusal));
                return;
            }
        };
        let hall = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(speech) = hall.unless_closed(sniff(&mut stream)).await {
                hall.attend(stream, speech, place).await;
            }
        });
    }

    fn welcome_tcp(
        self: &Arc<Self>,
        mut stream: TcpStream,
        token: &Arc<Token>,
        places: &Arc<Semaphore>,
    ) {
        let place = match place(places, Self::TCP_MAX) {
            Ok(place) => place,
            Err(refusal) => {
                let _ = stream.try_write(&farewell(refusal));
                return;
            }
        };
        let (hall, token) = (Arc::clone(self), Arc::clone(token));
        tokio::spawn(async move {
            // Small answers are not to wait for larger ones.
            let _ = stream.set_nodelay(true);
            if let Ok(speech) = hall.unless_closed(admit(&mut stream, &token)).await {
                hall.attend(stream, speech, place).await;
            }
        });
    }

    async fn unless_closed(
        &self,
        greeting: impl Future<Output = io::Result<Speech>>,
    ) -> io::Result<Speech> {
        let too_late = async {
            self.office.closed().await;
            sleep(Self::LAST_WORD).await;
        };
        let (mut greeting, mut closed) = (std::pin::pin!(greeting), std::pin::pin!(too_late));
        std::future::poll_fn(|cx| match greeting.as_mut().poll(cx) {
            std::task::Poll::Pending => closed.as_mut().poll(cx).map(|()| Ok(Speech::None)),
            done => done,
        })
        .await
    }

    async fn attend<S>(&self, stream: S, speech: Speech, place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match speech {
            Speech::Ndjson(first) => {
                // What breaks here is the client's affair, and it knows.
                let _ = Connection::new(&self.office, stream, first).serve().await;
            }
            Speech::Http(first) => {
                let io = Rewound::new(first, stream, place);
                http::serve(io, self.methods.clone(), self.stop.clone()).await;
            }
            Speech::None => {}
        }
    }
}

fn place(places: &Arc<Semaphore>, max: usize) -> Result<OwnedSemaphorePermit, Refusal> {
    Arc::clone(places).try_acquire_owned().map_err(|_| {
        Refusal::new(Kind::Forbidden, format!("cannot serve you: {max} clients are connected"))
            .hint("try again when one of them has gone")
    })
}

/// Only the server's own user and root come in, even where others can reach the socket.
fn is_ours(stream: &UnixStream) -> Result<(), Refusal> {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == geteuid().as_raw() => Ok(()),
        _ => Err(Refusal::new(Kind::Forbidden, "cannot serve you: this socket is another user's")),
    }
}

fn farewell(refusal: Refusal) -> Vec<u8> {
    let mut out = Vec::new();
    write_error(&mut out, "null", &error_object(refusal));
    out.push(b'\n');
    out
}

/// Makes way for a socket: removes one that nobody listens on, and nothing else.
fn clear(path: &Path) -> Result<(), Refusal> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(blocked(path, &error)),
    };
    if !there.file_type().is_socket() {
        let message = format!("cannot listen at {}: it is no socket", path.display());
        return Err(Refusal::new(Kind::Storage, message)
            .hint("move it away, or name another with `--socket`")
            .with("path", path.display().to_string()));
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| blocked(path, &error))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(blocked(path, &error)),
        Ok(_) => {
            let message = format!("a server answers at {} already", path.display());
            Err(Refusal::new(Kind::Storage, message)
                .hint("`zinit server stop` stops it")
                .with("path", path.display().to_string()))
        }
    }
}

/// Binds, restricts, and only then listens: at no time can others connect.
fn bound(path: &Path) -> io::Result<StdUnixListener> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&listener), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listen(&listener, Backlog::new(1024)?)?;
    Ok(listener.into())
}

fn blocked(path: &Path, error: &io::Error) -> Refusal {
    Refusal::new(Kind::Storage, format!("cannot listen at {}: {error}", path.display()))
        .with("path", path.display().to_string())
}

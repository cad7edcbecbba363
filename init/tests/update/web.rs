//! A web server for the files of a directory, on loopback. A file of the same name with another ending
//! says that it is nasty about one:
//!
//! | ending | what it does |
//! |---|---|
//! | `.silent` | takes the request and says nothing |
//! | `.stalls` | sends half of it, then nothing |
//! | `.cut` | sends half of it and hangs up |

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

/// Serves until the test ends; returns its URL. What is asked for is written down beside the directory,
/// in `requests`.
pub(crate) fn serve(dir: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let port = listener.local_addr().expect("it is bound").port();
    let dir = dir.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let dir = dir.clone();
            thread::spawn(move || answer(stream, &dir));
        }
    });
    format!("http://127.0.0.1:{port}")
}

/// Whoever has hung up gets no answer.
fn answer(mut stream: TcpStream, dir: &Path) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let asked = head.split(' ').nth(1)?.trim_start_matches('/');
    let mut requests =
        OpenOptions::new().create(true).append(true).open(dir.with_file_name("requests")).ok()?;
    requests.write_all(format!("{asked}\n").as_bytes()).ok()?;
    let path = dir.join(asked);
    let is = |ending: &str| PathBuf::from(format!("{}.{ending}", path.display())).exists();
    if is("silent") {
        return hold(&mut reader);
    }
    let Ok(bytes) = fs::read(&path) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok();
    };
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len()).ok()?;
    if is("stalls") || is("cut") {
        stream.write_all(&bytes[..bytes.len() / 2]).ok()?;
        return if is("stalls") { hold(&mut reader) } else { None };
    }
    stream.write_all(&bytes).ok()
}

/// Keeps the connection until the other side gives up.
fn hold(reader: &mut BufReader<TcpStream>) -> Option<()> {
    reader.read_line(&mut String::new()).ok().map(drop)
}

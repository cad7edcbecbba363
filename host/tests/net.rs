//! The network words of scripts, against servers of our own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use zinit_host::engine;
use zinit_host::interrupt::Interrupt;
use zinit_host::native::Session;
use zinit_host::script::{self, Ended, Script};

/// Runs a script in which `PORT` stands for the port, and returns what it left.
fn run(text: &str, port: u16) -> Ended {
    let text = text.replace("PORT", &port.to_string());
    let script = Script { name: "test", text: &text, args: &[] };
    let interrupt = Interrupt::new().expect("a descriptor");
    let nowhere = Path::new("/nowhere/zinit.sock");
    engine::on_deep_stack(|| script::run(&Session::new(nowhere, &interrupt), &script))
        .expect("no panic")
}

#[track_caller]
fn check(text: &str, port: u16, value: &str) {
    assert_eq!(run(text, port), Ended::Done(Some(value.to_owned())));
}

/// A server that answers `/ok` with 200, `/moved` with a redirect to it, `/silent` never, and all
/// else with 500.
fn web() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a request");
            let head = match line.split(' ').nth(1) {
                Some("/ok") => "200 OK",
                Some("/moved") => "302 Found\r\nLocation: /ok",
                Some("/secure") => "302 Found\r\nLocation: https://127.0.0.1:1/",
                Some("/silent") => {
                    silent.push(stream);
                    continue;
                }
                _ => "500 Oh",
            };
            let _ =
                write!(stream, "HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    port
}

#[test]
fn a_url_is_well_when_it_answers_200_also_after_a_redirect() {
    let port = web();
    check("check_http(\"http://127.0.0.1:PORT/ok\")", port, "true");
    check("check_http(\"http://localhost:PORT/moved\")", port, "true");
    check("check_http(\"http://127.0.0.1:PORT/broken\")", port, "false");
    check("check_http(\"http://127.0.0.1:PORT/secure\")", port, "false");
    check("host::http(\"http://127.0.0.1:PORT/broken\", 5000)", port, "500");
}

#[test]
fn a_server_that_never_answers_is_waited_for_no_longer_than_was_said() {
    let silent = "let code = \"\"; \
        try { host::http(\"http://127.0.0.1:PORT/silent\", 50) } catch (err) { code = err.code; } code";
    check(silent, web(), "\"timed_out\"");
}

#[test]
fn a_port_accepts_connections_or_not() {
    let port = web();
    check("check_tcp(\"127.0.0.1:PORT\")", port, "true");
    check("check_tcp(\"localhost:PORT\")", port, "true");
    check("check_tcp(\"127.0.0.1:1\")", port, "false");
    check("host::pids_listening(PORT).len", port, "1");
}

#[test]
fn what_is_no_address_is_refused_and_not_just_false() {
    for text in
        ["check_tcp(\"\")", "check_tcp(\"web\")", "check_http(\"\")", "check_http(\"ftp://a\")"]
    {
        let Ended::Failed(refusal) = run(text, 0) else { panic!("{text} did not fail") };
        assert_eq!(refusal.kind.word(), "bad_argument", "{text}: {refusal}");
        assert_eq!(refusal.data["line"], 1, "{text}");
    }
}

#[test]
fn init_is_not_to_be_killed() {
    for pid in [-1, 0, 1] {
        let Ended::Failed(refusal) = run(&format!("host::kill({pid}, \"SIGTERM\")"), 0) else {
            panic!("{pid} was killed")
        };
        assert_eq!(refusal.message, format!("{pid} is no process to send a signal to"));
    }
}

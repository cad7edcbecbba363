//! Over TCP, nobody gets in without the token.

use std::fs;
use std::io::Read;
use std::net::TcpStream;

use serde_json::json;
use zinit_host::rpc::server::tcp_address;

use crate::world::{Client, World};

fn visitor(world: &World) -> Client<TcpStream> {
    Client::new(TcpStream::connect(world.tcp.unwrap()).unwrap())
}

fn token(world: &World) -> String {
    fs::read_to_string(world.dir.join("token")).unwrap().trim().to_owned()
}

fn spoken(world: &World, request: &str) -> String {
    let mut client = visitor(world);
    client.send(request);
    let mut bytes = Vec::new();
    // What the server did not read makes the end a reset.
    let _ = client.lines.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_port_alone_is_of_this_machine_only() {
    assert!(tcp_address("4000").unwrap().ip().is_loopback());
    assert_eq!(tcp_address("0.0.0.0:4000").unwrap().to_string(), "0.0.0.0:4000");
    assert!(tcp_address("70000").is_err() && tcp_address("x").is_err());
}

#[test]
fn the_first_line_must_show_the_token() {
    let world = World::with_tcp();
    let mut client = visitor(&world);
    assert_eq!(client.result("system.authenticate", json!([token(&world)])), true);
    assert_eq!(client.result("service.list", json!([])), json!([]));
    for (method, params) in [
        ("service.list", json!([])),
        ("system.authenticate", json!(["0".repeat(64)])),
        ("system.authenticate", json!([])),
        ("system.authenticate", json!([""])),
    ] {
        let mut client = visitor(&world);
        assert_eq!(client.error(method, params).0, -32001);
        assert_eq!(client.line(), "", "it is sent away");
    }
    let mut client = visitor(&world);
    client.send(format!("{{{}", "x".repeat(100_000)));
    // Sent away, perhaps with a reset for what nobody read.
    assert!(client.lines.read_to_end(&mut Vec::new()).map_or(true, |count| count == 0));
}

#[test]
fn each_http_request_must_bear_the_token() {
    let world = World::with_tcp();
    let ask = |header: &str| {
        let body = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system.ping\"}";
        format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{header}Connection: keep-alive\r\n\r\n{body}",
            body.len()
        )
    };
    let good = format!("authorization:  bearer {}\r\n", token(&world));
    let text = spoken(&world, &ask(&good));
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("pong"), "{text}");
    for header in ["", "Authorization: Bearer x\r\n", "X-Authorization: Bearer 0\r\n"] {
        assert!(spoken(&world, &ask(header)).starts_with("HTTP/1.1 401"), "{header}");
    }
    let twice = spoken(&world, &[ask(&good), ask("")].concat());
    assert_eq!(twice.matches("HTTP/1.1").count(), 1, "one token, one request: {twice}");
}

#[test]
fn a_websocket_over_tcp_bears_the_token_once() {
    let world = World::with_tcp();
    let mut client = visitor(&world);
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {}\r\n\r\n",
        token(&world)
    ));
    assert_eq!(client.line(), "HTTP/1.1 101 Switching Protocols\r\n");
}

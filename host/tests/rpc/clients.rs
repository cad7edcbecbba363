//! What JSON-RPC allows a client, over newline-delimited JSON and over HTTP; and the socket itself.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use serde_json::{Value, json};
use zinit_host::refusal::Kind;
use zinit_host::rpc::server::Doors;

use crate::world::{PATIENCE, World, scratch};

fn ping(id: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"system.ping\",\"id\":{id}}}")
}

#[test]
fn ids_may_be_numbers_strings_and_null_and_come_back_as_they_were() {
    let world = World::new();
    let mut client = world.client();
    for id in ["1", "-7", "1.50", "\"a\\u00e4\\n\"", "null", "18446744073709551615"] {
        client.send(ping(id) + "\n");
        assert!(client.line().ends_with(&format!(",\"id\":{id}}}\n")));
    }
    for id in ["{}", "[1]", "true"] {
        client.send(ping(id) + "\n");
        assert_eq!(client.reply()["error"]["code"], -32600, "{id}");
    }
}

#[test]
fn a_notification_is_done_and_not_answered() {
    let world = World::new();
    world.post("web", "Stopped", 0);
    let mut client = world.client();
    client.send("{\"jsonrpc\":\"2.0\",\"method\":\"service.start\",\"params\":[\"web\"]}\n");
    client.send("{\"jsonrpc\":\"2.0\",\"method\":\"nonsense\"}\n\n  \r\n");
    while client.result("service.is_running", json!(["web"])) != true {}
}

#[test]
fn a_batch_is_answered_as_one_and_notifications_in_it_are_not() {
    let world = World::new();
    world.post("web", "Stopped", 0);
    let mut client = world.client();
    let notice = "{\"jsonrpc\":\"2.0\",\"method\":\"system.ping\"}";
    client.send(format!("[{},{notice},{},7]\n", ping("1"), ping("\"b\"")));
    let reply = client.reply();
    let ids: Vec<&Value> = reply.as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [&json!(1), &json!("b"), &Value::Null]);
    assert_eq!(reply[2]["error"]["code"], -32600);
    let start = "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"service.start\",\"params\":[\"web\"]}";
    client.send(format!("[{},{start}]\n", ping("2")));
    assert_eq!(client.reply()[1], json!({ "jsonrpc": "2.0", "result": true, "id": 3 }));
    client.send(format!("[{notice},{notice}]\n[]\n"));
    assert_eq!(client.reply()["error"]["code"], -32600, "an empty batch is no request");
}

#[test]
fn many_requests_in_one_write_are_answered_in_order() {
    let world = World::new();
    let mut client = world.client();
    let requests: String = (0..5000).map(|id| ping(&id.to_string()) + "\n").collect();
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(requests.as_bytes()).unwrap());
    for id in 0..5000 {
        assert_eq!(client.reply()["id"], id);
    }
    sender.join().unwrap();
}

#[test]
fn a_last_line_without_newline_is_answered_when_the_client_has_said_all() {
    let world = World::new();
    let mut client = world.client();
    client.send(ping("1"));
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.reply()["id"], 1);
    assert_eq!(client.line(), "");
}

fn post(body: &str, more: &str) -> String {
    let length = body.len();
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

#[test]
fn http_is_spoken_on_the_same_socket() {
    let world = World::new();
    world.post("web", "Stopped", 0);
    let mut client = world.client();
    let body =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"service.start\",\"params\":{\"name\":\"web\"}}";
    client.send(post(body, "") + post(&ping("2"), "Connection: close\r\n").as_str());
    let mut text = String::new();
    client.lines.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert!(text.contains("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":true}"), "{text}");
    assert!(text.contains("pong"), "{text}");
    let mut client = world.client();
    let body = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"service.start\",\"params\":[\"wbe\"]}";
    client.send(post(body, "Connection: close\r\n"));
    let mut text = String::new();
    client.lines.read_to_string(&mut text).unwrap();
    assert!(text.contains("-32000") && text.contains("unknown_service"), "{text}");
}

#[test]
fn websocket_is_spoken_on_the_same_socket() {
    let world = World::new();
    let mut client = world.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.line(), "HTTP/1.1 101 Switching Protocols\r\n");
    while client.line() != "\r\n" {}
    // A masked text frame; a mask of zeros leaves the text as it is.
    let text = ping("5");
    let length = u8::try_from(text.len()).unwrap();
    client.send([&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat());
    let mut head = [0; 2];
    client.lines.read_exact(&mut head).unwrap();
    let mut text = vec![0; usize::from(head[1])];
    client.lines.read_exact(&mut text).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap()["id"], 5);
}

#[test]
fn the_socket_is_the_owners_alone() {
    let world = World::new();
    let mode = fs::metadata(&world.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_second_server_is_refused_and_a_stale_socket_is_replaced() {
    let mut world = World::new();
    let refusal = Doors::open(&world.socket).unwrap_err();
    assert!(refusal.message.starts_with("a server answers at "), "{refusal}");
    assert_eq!(world.client().result("system.ping", json!([]))["message"], "pong");
    world.stop();
    drop(UnixListener::bind(&world.socket).unwrap());
    assert!(UnixStream::connect(&world.socket).is_err(), "it is stale");
    let _doors = Doors::open(&world.socket).unwrap();
    UnixStream::connect(&world.socket).unwrap();
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let dir = scratch();
    let path = dir.join("file");
    fs::write(&path, "precious").unwrap();
    assert_eq!(Doors::open(&path).unwrap_err().kind, Kind::Storage);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let long = dir.join("x".repeat(200));
    assert!(Doors::open(&long).unwrap_err().message.starts_with("cannot listen at "));
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_server_that_stops_answers_those_who_wait() {
    let mut world = World::new();
    world.post("web", "Spawned", 0);
    let mut client = world.client();
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"service.wait\",\"params\":[\"web\", 1e9]}\n",
    );
    assert_eq!(client.result("system.ping", json!([]))["message"], "pong");
    world.stop();
    assert_eq!(client.reply()["error"]["code"], -32003);
    assert_eq!(client.line(), "");
}

#[test]
fn whoever_has_asked_when_the_server_stops_is_answered() {
    let mut world = World::new();
    let ask = |_| {
        let mut client = world.client();
        client.send(ping("1") + "\n");
        client
    };
    let clients: Vec<_> = (0..200).map(ask).collect();
    world.stop();
    for mut client in clients {
        assert_eq!(client.reply()["result"]["message"], "pong");
    }
}

//! Clients that misbehave: only they suffer.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;

use crate::world::World;

fn assert_well(world: &World) {
    assert_eq!(world.client().result("system.ping", json!([]))["message"], "pong");
}

#[test]
fn half_a_request_waits_and_is_answered_when_the_other_half_comes() {
    let world = World::new();
    let mut client = world.client();
    client.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"meth");
    assert_well(&world);
    client.send("od\":\"system.ping\"}\n");
    assert_eq!(client.reply()["result"]["message"], "pong");
}

#[test]
fn a_line_of_200_megabytes_costs_its_client_the_connection() {
    let world = World::new();
    let mut client = world.client();
    let chunk = vec![b'x'; 1 << 20];
    client.send("{");
    let sent = (0..200).take_while(|_| client.stream.write_all(&chunk).is_ok()).count();
    assert!(sent >= 4, "{sent}");
    assert_well(&world);
    let reply = client.reply();
    assert_eq!(reply["error"]["code"], -32600);
    assert_eq!(reply["error"]["message"], "a request has at most 4194304 bytes");
    let mut rest = Vec::new();
    // Closed, perhaps with a reset for what nobody read.
    assert!(client.lines.read_to_end(&mut rest).is_err() || rest.is_empty());
}

#[test]
fn a_client_that_reads_no_answers_is_not_read_either_and_loses_none() {
    let world = World::new();
    (0..1000)
        .for_each(|it| world.board.post(crate::world::status(&format!("s{it}"), "Running", 1)));
    let mut client = world.client();
    let request = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"service.list\"}\n";
    let requests = request.repeat(10_000);
    client.stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    // Until the server has had enough: the pipe is full and stays so while others are served.
    let mut refused = 0;
    while refused < 3 {
        match client.stream.write(&requests[sent..]) {
            Ok(count) => (sent, refused) = (sent + count, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refused += 1;
                (0..50).for_each(|_| assert_well(&world));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sent < requests.len(), "10,000 answers of 7 KB were taken in");
    }
    client.stream.set_nonblocking(false).unwrap();
    let mut writer = client.stream.try_clone().unwrap();
    let rest = requests[sent..].to_vec();
    let sender = std::thread::spawn(move || writer.write_all(&rest).unwrap());
    (0..10_000).for_each(|_| assert!(client.line().ends_with("],\"id\":1}\n")));
    sender.join().unwrap();
}

#[test]
fn waits_in_flight_are_bounded_and_none_is_lost() {
    let world = World::new();
    world.post("web", "Spawned", 0);
    let mut client = world.client();
    let wait = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"service.wait\",\"params\":[\"web\"]}\n";
    let ping = "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"system.ping\"}\n";
    client.send(wait.repeat(63) + ping);
    assert_eq!(client.reply()["id"], 2, "overtakes 63");
    client.send(wait.repeat(437) + ping);
    assert_well(&world);
    world.post("web", "Running", 1);
    let replies: Vec<_> = (0..501).map(|_| client.reply()["id"].as_i64().unwrap()).collect();
    assert_eq!(replies.iter().filter(|it| **it == 1).count(), 500);
}

#[test]
fn garbage_is_answered_with_a_sentence_or_a_closed_door() {
    let world = World::new();
    let mut client = world.client();
    for (line, code) in [
        ("{\u{0}\u{1}\u{2}", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,", -32700),
        ("7", -32600),
        ("{}", -32600),
        ("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"system.ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", -32600),
        ("[1,2", -32700),
    ] {
        client.send(format!("{line}\n"));
        assert_eq!(client.reply()["error"]["code"], code, "{line}");
    }
    client.send(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\"}\n");
    assert_eq!(client.reply()["error"]["code"], -32700);
    assert_eq!(client.result("system.ping", json!([]))["message"], "pong");
    let mut noise = UnixStream::connect(&world.socket).unwrap();
    let bytes: Vec<u8> =
        (0..100_000_u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    // The server may hang up in the middle of it.
    let _ = noise.write_all(&bytes);
    noise.read_to_end(&mut Vec::new()).ok();
    assert_well(&world);
}

#[test]
fn nesting_of_any_depth_is_refused() {
    let world = World::new();
    let mut client = world.client();
    let deep = "[".repeat(1_000_000);
    client.send(format!("{deep}\n"));
    assert!(client.reply()["error"]["code"].is_i64());
    let closed = ["[", "]"].map(|it| it.repeat(500_000)).concat();
    client.send(format!("{closed}\n"));
    let reply = client.reply();
    assert!(reply[0]["error"]["code"].is_i64() || reply["error"]["code"].is_i64(), "{reply}");
    client.send(format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"service.monitor\",\"params\":[\"a\",{closed}]}}\n"
    ));
    assert_eq!(client.reply()["error"]["code"], -32602);
    let mut objects = "{\"a\":".repeat(100_000);
    objects.push('\n');
    client.send(objects);
    assert!(client.reply()["error"]["code"].is_i64());
    assert_well(&world);
}

#[test]
fn a_batch_has_bounds() {
    let world = World::new();
    let mut client = world.client();
    client.send(format!("[{}1]\n", "1,".repeat(1000)));
    assert_eq!(client.reply()["error"]["message"], "a batch has at most 1000 requests");
    let names = 1..=1000;
    names.for_each(|it| {
        world.board.post(crate::world::status(&format!("{it}{}", "x".repeat(50)), "Running", 1));
    });
    let list = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"service.list\"}";
    client.send(format!("[{}]\n", vec![list; 1000].join(",")));
    assert_eq!(client.reply()["error"]["code"], -32008);
}

#[test]
fn one_client_too_many_is_told_so() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(4096).min(hard), hard).unwrap();
    let world = World::new();
    let mut clients: Vec<_> = (0..1024).map(|_| world.client()).collect();
    // The last one that has a place; those before it have theirs by then.
    assert_eq!(clients[1023].result("system.ping", json!([]))["message"], "pong");
    let mut extra = world.client();
    assert_eq!(extra.reply()["error"]["message"], "cannot serve you: 1024 clients are connected");
    assert_eq!(extra.line(), "");
    clients.truncate(1000);
    loop {
        let mut client = world.client();
        let _ =
            client.stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system.ping\"}\n");
        if client.reply()["error"].is_null() {
            return;
        }
    }
}

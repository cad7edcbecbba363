//! Those who follow the logs: nothing twice, nothing left out, and nobody pays for another.

use std::io::Read;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::world::{Client, World};

/// The lines of the next notification, which must be of this subscription.
fn told<S: crate::world::Stream>(client: &mut Client<S>, subscription: &Value) -> Vec<String> {
    let news = client.reply();
    assert_eq!((&news["jsonrpc"], &news["method"]), (&json!("2.0"), &json!("logs")), "{news}");
    assert_eq!(&news["params"]["subscription"], subscription);
    let lines = news["params"]["result"]["lines"].as_array().unwrap();
    lines.iter().map(|it| it["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn whoever_follows_is_told_of_every_line_once_and_in_order() {
    let world = World::new();
    world.post("web", "Running", 1);
    let before = world.writes("web", "before");
    let mut client = world.client();
    let all = client.result("logs.follow", json!([]));
    let web = client.result("logs.follow", json!({ "cursor": 0, "names": "web", "grep": "e" }));
    assert_ne!(all, web);
    assert_eq!(told(&mut client, &web), ["before"]);
    let mut expected = Vec::new();
    for number in 0..300 {
        assert!(world.writes(["db", "mq"][number % 2], &number.to_string()) > before);
        expected.push(number.to_string());
    }
    let mut seen = Vec::new();
    while seen.len() < 300 {
        seen.extend(told(&mut client, &all));
    }
    assert_eq!(seen, expected);
    assert_eq!(client.result("logs.unfollow", json!([all])), true);
    assert_eq!(client.result("logs.unfollow", json!([all])), false);
    world.writes("web", "the end");
    assert_eq!(told(&mut client, &web), ["the end"], "only this one is left");
}

#[test]
fn the_answer_comes_before_the_first_line_and_calls_go_on_meanwhile() {
    let world = World::new();
    for number in 0..5_000 {
        world.writes("web", &number.to_string());
    }
    let mut client = world.client();
    let web = client.result("logs.follow", json!({ "cursor": "1970-01-01T00:00:00Z" }));
    client.send("{\"jsonrpc\":\"2.0\",\"method\":\"system.ping\",\"id\":\"p\"}\n");
    let (mut seen, mut pongs) = (0, 0);
    while seen < 5_000 || pongs == 0 {
        let line = client.reply();
        match &line["id"] {
            Value::String(id) if id == "p" => pongs += 1,
            _ => {
                assert_eq!(line["params"]["subscription"], web);
                for it in line["params"]["result"]["lines"].as_array().unwrap() {
                    assert_eq!(it["text"], seen.to_string());
                    seen += 1;
                }
            }
        }
    }
    assert_eq!((seen, pongs), (5_000, 1));
}

#[test]
fn a_follower_that_does_not_read_costs_nobody_else_anything() {
    let world = World::new();
    let mut stalled: Vec<Client<UnixStream>> = (0..8).map(|_| world.client()).collect();
    stalled.iter_mut().for_each(|it| {
        it.result("logs.follow", json!([]));
    });
    let (mut reader, mut other) = (world.client(), world.client());
    let all = reader.result("logs.follow", json!([]));
    let long = "x".repeat(10_000);
    let mut seen = Vec::new();
    for number in 0..2_000 {
        world.writes("web", &format!("{number} {long}"));
        if number % 100 == 0 {
            assert_eq!(other.result("system.ping", json!([]))["message"], "pong");
        }
        while number % 100 == 99 && seen.len() <= number {
            seen.extend(told(&mut reader, &all));
        }
    }
    for (number, text) in seen.iter().enumerate() {
        assert!(text.starts_with(&format!("{number} ")), "{number}: {}", &text[..10]);
    }
    // Those that stalled go on where they stood, and miss nothing that is still there.
    let mut late = 0;
    while late < 2_000 {
        for text in told(&mut stalled[0], &json!(1)) {
            assert!(text.starts_with(&format!("{late} ")), "{late}: {}", &text[..10]);
            late += 1;
        }
    }
}

#[test]
fn a_connection_follows_only_so_much_and_not_in_a_batch() {
    let world = World::new();
    let mut client = world.client();
    (0..16).for_each(|_| drop(client.result("logs.follow", json!([]))));
    assert_eq!(client.error("logs.follow", json!([])).0, -32001);
    assert_eq!(client.result("logs.unfollow", json!([1])), true);
    assert_eq!(client.error("logs.follow", json!({ "names": "nobody" })).0, -32000);
    client.result("logs.follow", json!([]));
    assert_eq!(client.error("logs.follow", json!([])).0, -32001);
    client.send("[{\"jsonrpc\":\"2.0\",\"method\":\"logs.follow\",\"id\":1}]\n");
    let reply = client.reply();
    let message = "a subscription cannot begin or end in a batch";
    assert_eq!(reply[0]["error"]["message"], message, "{reply}");
}

#[test]
fn a_subscription_ends_with_its_connection_and_with_the_server() {
    let mut world = World::new();
    let (mut gone, mut client) = (world.client(), world.client());
    gone.result("logs.follow", json!([]));
    client.result("logs.follow", json!([]));
    gone.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(gone.line(), "", "it has said all");
    world.stop();
    assert_eq!(client.line(), "");
}

/// A masked text frame; a mask of zeros leaves the text as it is.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126);
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

fn unframed(client: &mut Client<UnixStream>) -> Value {
    let mut head = [0; 2];
    client.lines.read_exact(&mut head).unwrap();
    let mut length = usize::from(head[1]);
    if length == 126 {
        client.lines.read_exact(&mut head).unwrap();
        length = usize::from(u16::from_be_bytes(head));
    }
    let mut text = vec![0; length];
    client.lines.read_exact(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn a_websocket_follows_by_the_same_names() {
    let world = World::new();
    let mut client = world.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    while client.line() != "\r\n" {}
    client.send(frame("{\"jsonrpc\":\"2.0\",\"method\":\"logs.follow\",\"id\":1}"));
    let subscription = unframed(&mut client)["result"].take();
    for number in 0..50 {
        world.writes("web", &number.to_string());
    }
    let mut seen = Vec::new();
    while seen.len() < 50 {
        let news = unframed(&mut client);
        let params = (&news["method"], &news["params"]["subscription"]);
        assert_eq!(params, (&json!("logs"), &subscription));
        let lines = news["params"]["result"]["lines"].as_array().unwrap();
        seen.extend(lines.iter().map(|it| it["text"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen, (0..50).map(|it| it.to_string()).collect::<Vec<_>>());
    let end =
        json!({ "jsonrpc": "2.0", "method": "logs.unfollow", "id": 2, "params": [subscription] });
    client.send(frame(&end.to_string()));
    assert_eq!(unframed(&mut client), json!({ "jsonrpc": "2.0", "id": 2, "result": true }));
}

//! What services wrote, read from their files.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use zinit_host::logs::line::Mark;

use crate::world::World;

fn texts(page: &Value) -> Vec<&str> {
    page["lines"].as_array().unwrap().iter().map(|it| it["text"].as_str().unwrap()).collect()
}

/// Two services, of which one has written to stderr as well.
fn written() -> World {
    let world = World::new();
    world.post("web", "Running", 1);
    world.post("db", "Running", 1);
    world.writes("web", "listening on 8080");
    world.writes("db", "level=info msg=ready");
    world.writes_as("web", true, Mark::Cut, "GET /");
    world.writes("db", "level=error msg=\"disk full\"");
    world
}

#[test]
fn lines_of_all_services_come_in_the_order_of_time_with_all_that_is_known() {
    let world = written();
    let mut client = world.client();
    let page = client.result("logs.read", json!([]));
    let expected = ["listening on 8080", "level=info msg=ready", "GET /"];
    assert_eq!(texts(&page)[..3], expected);
    let cut = json!({ "time": "2023-11-14T22:13:20.000000002Z", "service": "web",
        "stream": "stderr", "incarnation": 7, "mark": "cut", "text": "GET /" });
    assert_eq!(page["lines"][2], cut);
    assert_eq!(page["lines"][0].get("mark"), None);
    assert_eq!((&page["more"], &page["cursor"]), (&json!(false), &page["lines"][3]["time"]));
}

#[test]
fn a_search_leaves_out_what_does_not_fit() {
    let world = written();
    let mut client = world.client();
    let mut found = |params: Value| {
        let page = client.result("logs.read", params);
        texts(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(found(json!({ "names": "web", "stream": "stderr" })), ["GET /"]);
    assert_eq!(found(json!({ "names": ["we*"], "stream": "stdout" })), ["listening on 8080"]);
    assert_eq!(found(json!({ "grep": "^GET|[0-9]{4}" })), ["listening on 8080", "GET /"]);
    assert_eq!(found(json!({ "where": "level=info" })), ["level=info msg=ready"]);
    assert_eq!(found(json!({ "where": ["level=info"], "names": "web" })), [""; 0]);
    let second = "2023-11-14T22:13:20.000000001Z";
    assert_eq!(found(json!({ "until": second })).len(), 2);
    assert_eq!(found(json!({ "since": second })).len(), 3);
    assert_eq!(found(json!({ "since": second, "until": second })), ["level=info msg=ready"]);
    assert_eq!(found(json!({ "cursor": second })).len(), 2);
    assert_eq!(found(json!({ "since": "1m", "until": "0" })), [""; 0]);
    assert_eq!(found(json!({ "since": 1_700_000_000_000_u64 })).len(), 4);
    assert_eq!(found(json!({ "since": 1_700_000_000_001_u64 })), [""; 0]);
}

#[test]
fn pages_follow_each_other_without_gap_or_repeat() {
    let world = World::new();
    for number in 0..25 {
        world.writes(["a", "b", "c"][number % 3], &number.to_string());
    }
    let mut client = world.client();
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let page = client.result("logs.read", json!({ "n": 10, "cursor": cursor }));
        seen.extend(texts(&page).into_iter().map(str::to_owned));
        cursor = page["cursor"].clone();
        if page["more"] == false {
            break;
        }
        assert_eq!(seen.len() % 10, 0);
    }
    assert_eq!(seen, (0..25).map(|it| it.to_string()).collect::<Vec<_>>());
    let tail = client.result("logs.read", json!({ "n": 2, "tail": true }));
    assert_eq!((texts(&tail), &tail["more"]), (vec!["23", "24"], &json!(true)));
    assert_eq!(tail["cursor"], cursor);
    let all = client.result("logs.read", json!({ "n": 25, "tail": true }));
    assert_eq!((texts(&all).len(), &all["more"]), (25, &json!(false)));
    let none = client.result("logs.read", json!({ "n": 0, "tail": true }));
    assert_eq!((texts(&none), &none["cursor"]), (vec![], &cursor));
}

#[test]
fn long_lines_make_short_pages() {
    let world = World::new();
    let long = "x".repeat(10_000);
    for _ in 0..300 {
        world.writes("web", &long);
    }
    let mut client = world.client();
    for tail in [false, true] {
        let page = client.result("logs.read", json!({ "tail": tail }));
        let bytes: usize = texts(&page).iter().map(|it| it.len()).sum();
        assert!(bytes <= (1 << 20) + long.len() && bytes > 1 << 19, "{bytes}");
        assert_eq!(page["more"], true);
    }
}

#[test]
fn what_cannot_be_looked_for_is_refused_with_the_place() {
    let world = written();
    let mut client = world.client();
    let mut no = |params: Value| {
        let (code, message) = client.error("logs.read", params);
        assert_eq!(code, -32602);
        message
    };
    assert_eq!(
        no(json!({ "grep": "ready (" })),
        "cannot search the logs: `ready (` is no regular expression: unclosed group, at character 7"
    );
    assert_eq!(
        no(json!({ "stream": "both" })),
        "cannot search the logs: `stream` must be `stdout` or `stderr`, not `both`"
    );
    assert!(
        no(json!({ "where": ["level"] }))
            .contains("`level` has no `=` between a field and its value")
    );
    assert_eq!(
        no(json!({ "since": "soon" })),
        "cannot search the logs: `since` must be a time, and `soon` is none: as a duration, its unit \
         is not one of ms, s, m, h and d"
    );
    assert!(no(json!({ "until": 1.5 })).contains("`until` must be a time: RFC 3339"));
    let reply = client.ask("logs.read", json!({ "names": "wbe" }));
    assert_eq!(reply["error"]["code"], -32000);
    assert_eq!(reply["error"]["data"]["hint"], "did you mean `web`?");
}

#[test]
fn a_wait_answers_as_soon_as_a_line_comes_that_is_meant() {
    let world = written();
    let mut client = world.client();
    let none = client.result("logs.wait", json!({ "secs": 0.01 }));
    assert_eq!((texts(&none), &none["cursor"]), (vec![], &json!("2023-11-14T22:13:20.000000003Z")));
    let params = json!({ "cursor": none["cursor"], "names": "web", "grep": "^GET" });
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "logs.wait", "params": params });
    client.send(format!("{request}\n"));
    assert_eq!(client.ask("system.ping", json!([]))["result"]["message"], "pong", "it waits");
    world.writes("db", "GET it yourself");
    world.writes("web", "POST /");
    world.writes("web", "GET /next");
    let page = client.reply()["result"].take();
    assert_eq!(texts(&page), ["GET /next"]);
    let late = client.result("logs.wait", json!([page["cursor"], 0.05, "web"]));
    assert_eq!((texts(&late), &late["cursor"]), (vec![], &page["cursor"]));
    let missed = client.result("logs.wait", json!([none["cursor"], 0]));
    assert_eq!(texts(&missed), ["GET it yourself", "POST /", "GET /next"]);
}

#[test]
fn logs_come_as_zinit_0_3_shows_them() {
    let world = written();
    let mut client = world.client();
    let all = json!([
        "[+] web: listening on 8080",
        "[+] db: level=info msg=ready",
        "[-] web: GET /",
        "[+] db: level=error msg=\"disk full\""
    ]);
    assert_eq!(client.result("logs.get", json!([])), all);
    assert_eq!(client.result("logs.tail", json!([1])), json!([all[3]]));
    assert_eq!(client.result("logs.filter", json!(["web"])), json!([all[0], all[2]]));
    assert_eq!(client.result("logs.filter", json!(["E"])), json!([all[2]]));
    assert_eq!(client.result("logs.filter", json!(["eb"])), json!([all[0], all[2]]));
    assert_eq!(client.result("logs.filter", json!([".*"])), json!([]));
}

#[test]
fn the_newest_8_mib_are_enough() {
    let world = World::new();
    let long = "x".repeat(15_000);
    for number in 0..700 {
        world.writes("web", &format!("{number} {long}"));
    }
    let mut client = world.client();
    let all = client.result("logs.get", json!([]));
    let all = all.as_array().unwrap();
    assert!((540..=560).contains(&all.len()), "{}", all.len());
    assert!(all.last().unwrap().as_str().unwrap().starts_with("[+] web: 699 x"));
}

#[test]
fn what_was_dropped_is_told_by_the_status() {
    let world = written();
    let mut client = world.client();
    assert_eq!(client.result("service.status", json!(["db"])).get("log_dropped"), None);
    let trail = world.logs.trails().get("web").unwrap();
    trail.dropped_lines.store(17, Ordering::Relaxed);
    trail.dropped_bytes.store(1700, Ordering::Relaxed);
    let status = client.result("service.status", json!(["web"]));
    assert_eq!(status["log_dropped"], json!({ "lines": 17, "bytes": 1700 }));
}

//! Bundled strategies at work on real processes.

use std::net::TcpListener;

use serde_json::json;
use zinit_tests::daemon::Home;

#[test]
fn a_service_that_grows_over_its_ceiling_is_restarted_and_told_why() {
    let home = Home::new();
    let once = home.root.join("once");
    let grows = format!(
        "test -e {0} || {{ echo > {0}; x=$(head -c 40000000 /dev/zero | tr \"\\\\0\" x); }}; \
         while :; do sleep 1; done",
        once.display()
    );
    let labels = "{ memory_limit: 20MiB, grace: 100ms, look_every: 50ms }";
    let yaml = format!("exec: sh -c '{grows}'\nlabels: {labels}\npolicy: memory_ceiling\n");
    let home = home.service("leaky", &yaml).start();
    let told = || home.ask("events.get", json!(["leaky"])).to_string();
    home.until("it is told why", || told().contains("its policy restarts it at "));
    assert_eq!(home.up("leaky").restarts, 0, "nothing has failed");
}

#[test]
fn a_service_whose_port_is_taken_names_who_has_it_and_starts_when_it_is_free() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let yaml = format!(
        "exec: sleep 1000\nhealth: {{ test_tcp: \"127.0.0.1:{port}\" }}\npolicy: port_free\n"
    );
    let home = Home::new().service("web", &yaml).start();
    let wanted = format!("process {} (`", std::process::id());
    home.until("it names who listens", || home.status("web").reason.starts_with(&wanted));
    assert_eq!(home.status("web").state, "Blocked");
    drop(listener);
    home.until("it starts", || home.status("web").pid > 0);
}

//! Every word that scripts are given is documented, and every example in its documentation is true.
//! (Examples that need a server are executed where there is one.)

use std::path::Path;
use std::rc::Rc;

use rhai::Engine;
use zinit_host::engine::{self, Words};
use zinit_host::interrupt::Interrupt;
use zinit_host::name::ServiceName;
use zinit_host::native::Session;
use zinit_host::proxy::Proxy;
use zinit_host::spec::{KEYS, PROXY, Spec};
use zinit_host::words::{Word, words};

fn session() -> Rc<Session> {
    Session::new(Path::new("/nowhere/zinit.sock"), &Interrupt::new().expect("a descriptor"))
}

fn with_engine<T: Send>(work: impl FnOnce(&Engine) -> T + Send) -> T {
    engine::on_deep_stack(|| work(&engine::script(&session(), Words::All))).expect("no panic")
}

#[test]
fn every_word_is_documented_with_an_example() {
    let bare = |word: &Word| {
        let sentence = word.doc.lines().next().is_some_and(|it| it.len() > 8);
        let examples = word.examples("rhai").len() + word.examples("rhai,server").len();
        !sentence || examples == 0
    };
    let undocumented: Vec<String> =
        with_engine(|it| words(it).iter().filter(|it| bare(it)).map(Word::signature).collect());
    assert_eq!(undocumented, [""; 0]);
}

#[test]
fn every_example_that_needs_no_server_is_true() {
    let wrong: Vec<String> = with_engine(|engine| {
        let examples = |it: &Word| {
            it.examples("rhai").into_iter().map(|line| (it.signature(), line)).collect::<Vec<_>>()
        };
        let all: Vec<_> = words(engine).iter().flat_map(examples).collect();
        assert!(all.len() > 40, "only {} examples were found", all.len());
        let wrong = |(word, line): (String, String)| match engine.eval::<bool>(&line) {
            Ok(true) => None,
            other => Some(format!("{word}: `{line}` is {other:?}")),
        };
        all.into_iter().filter_map(wrong).collect()
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn examples_that_need_a_server_compile() {
    let wrong: Vec<String> = with_engine(|engine| {
        let lines = words(engine).into_iter().flat_map(|it| it.examples("rhai,server"));
        lines.filter_map(|it| Some(format!("{it}: {}", engine.compile(&it).err()?))).collect()
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_words_of_the_readme_are_there() {
    let known = with_engine(|it| words(it).into_iter().map(|it| it.name).collect::<Vec<_>>());
    let promised = "new_service zinit_service_new start name exec test_cmd test_tcp test_http tcp_kill \
        oneshot after env dir log shutdown_timeout signal_stop register wait zinit_list zinit_status \
        zinit_stats zinit_is_running zinit_start zinit_stop zinit_restart zinit_delete zinit_kill \
        zinit_logs zinit_logs_filter zinit_start_all zinit_stop_all zinit_shutdown zinit_ping xinit_proxy_new xinit_list xinit_register xinit_unregister xinit_status \
        xinit_status_all listen add_listen backend service idle_timeout connect_timeout \
        single_connection reset to_markdown sleep \
        sleep_ms get_env set_env file_exists check_tcp check_http kill_port";
    let missing: Vec<&str> =
        promised.split_whitespace().filter(|it| !known.iter().any(|known| known == it)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn what_the_builder_of_proxies_fills_is_a_proxy_with_every_key() {
    let chain = r#"
        xinit_proxy_new().name("front").service("web").listen(":81").add_listen(["/a", "/b"])
            .backend("localhost:80").mode("proxy").connect_timeout("10s").idle_timeout(300)
            .single_connection().max_connections(1).max_waiting(7).proxy_protocol("v1")
            .listen("/a").add_listen("/c").users("root").socket_mode("0600").reset().to_map()
    "#;
    let mut config: serde_json::Value = with_engine(|engine| {
        let filled = engine.eval::<rhai::Dynamic>(chain).unwrap_or_else(|it| panic!("{it}"));
        rhai::serde::from_dynamic(&filled).expect("it is plain data")
    });
    let config = config.as_object_mut().expect("it is a map");
    assert_eq!(config.remove("replace"), Some(true.into()));
    let name = config.remove("name").and_then(|it| ServiceName::parse(it.as_str()?).ok());
    let proxy = Proxy::from_config(&name.expect("a name"), &config.clone().into());
    let proxy = proxy.unwrap_or_else(|it| panic!("{it}"));
    assert_eq!((proxy.service.as_str(), proxy.listen_text().as_str()), ("web", "unix:/a, unix:/c"));
    // Those that are as they would be without a word, or have no place beside others.
    let left_out = ["service", "mode", "fd_names"];
    let yaml = proxy.to_yaml();
    for key in PROXY.iter().map(|it| it.name).filter(|it| !left_out.contains(it)) {
        let said = ["max_connections"].contains(&key) || yaml.contains(&format!("{key}:"));
        assert!(said, "{key} is not in {yaml}");
    }
}

/// A chain of every method that sets something, but for those that exclude each other.
const CHAIN: &str = r#"
zinit_service_new().exec("sleep 1").dir("/tmp").env("A", 1).env(#{ B: 2 }).env_file("-/nowhere")
    .oneshot().status("stop").groups("g").label("tier", "web").log(#{ mode: "file", keep: 3 })
    .after("a").requires(["b", "c"]).wants("d").before("e").conflicts("f")
    .ready_log("^up$").start_timeout("1m").watchdog(30)
    .test_cmd("true").test_tcp("a:1").test_http("b").tcp_kill().period(5).retry(2).timeout("2s")
    .restart("on-failure").restart_delay("1s").max_restarts(3).on_give_up("true").essential()
    .policy("restart_delay", Fn("my_delay")).policy("gives_up", "other::gives_up")
    .stop_cmd("true").signal_stop("INT").shutdown_timeout(2)
    .user("web").group("adm").supplementary_groups("x").supplementary_groups(["y", 7])
    .umask("0027").no_new_privs().nice(-5).oom_score_adj(500)
    .limit("nofile", 1024).limit("nproc", "100:200").memory_max("512MiB").cpu_max(150).pids_max(64)
    .xinit(#{ enabled: false, listen: "/a", idle_timeout: "5m" })
    .to_map()
"#;

#[test]
fn what_the_builder_fills_is_a_service_with_every_key() {
    let config: serde_json::Value = with_engine(|engine| {
        let filled = engine.eval::<rhai::Dynamic>(CHAIN).unwrap_or_else(|it| panic!("{it}"));
        rhai::serde::from_dynamic(&filled).expect("it is plain data")
    });
    let spec = Spec::from_config(&config).unwrap_or_else(|it| panic!("{it}"));
    let run_as = &spec.run_as;
    let groups = ["x", "y", "7"].map(str::to_owned);
    assert_eq!(run_as.groups.as_deref(), Some(groups.as_slice()));
    assert_eq!((run_as.umask, run_as.limits["nproc"]), (Some(0o27), (100, 200)));
    assert_eq!((spec.requires.len(), spec.health.timeout_ms), (2, 2_000));
    assert_eq!(spec.log.keep, Some(3));
    let policy = [("gives_up", "other::gives_up"), ("restart_delay", "my_delay")];
    assert_eq!(spec.policy, policy.map(|(hook, it)| (hook.to_owned(), it.to_owned())).into());
    let changed = spec.changes(&Spec::of_exec("ls"));
    let left_out = ["signal", "notify", "ready_fd", "log_to"];
    let all = KEYS.iter().map(|it| it.name).filter(|it| !left_out.contains(it));
    assert_eq!(changed, all.collect::<Vec<_>>());
}

//! What `log` and `log_to` may say.

use super::*;

fn log(yaml: &str) -> Log {
    Log::clone(&parsed(&format!("exec: ls\n{yaml}\n")).log)
}

#[test]
fn a_log_is_a_word_or_a_map() {
    let of = |mode| Log { mode, ..Log::default() };
    assert_eq!(log("log: file"), of(LogMode::File));
    assert_eq!(log("log: { mode: stdout }"), of(LogMode::Stdout));
    assert_eq!(log("log: { mode: none }"), of(LogMode::None));
    assert_eq!(log("log: {}"), Log::default());
    let told = log(
        "log:\n  mode: file\n  dir: /srv/logs\n  rotate_size: 16MiB\n  rotate_age: 1d\n  keep: 10\n  \
         compress: none\n  full: block\n  syslog: true",
    );
    let meant = Log {
        mode: LogMode::File,
        dir: "/srv/logs".to_owned(),
        rotate_size: Some(16 << 20),
        rotate_age_ms: 86_400_000,
        keep: Some(10),
        compress: Some(false),
        full: Full::Block,
        syslog: "/dev/log".to_owned(),
    };
    assert_eq!(told, meant);
}

#[test]
fn a_directory_is_for_files_unless_the_mode_is_said() {
    assert_eq!(log("log: { dir: /srv }").mode, LogMode::File);
    assert_eq!(log("log: { keep: 3 }").mode, LogMode::Ring);
    assert_eq!(log("log: { dir: /srv, mode: ring }").mode, LogMode::Ring);
}

#[test]
fn what_is_sent_to_syslog_goes_to_a_socket_or_a_host() {
    let to = |said: &str| log(&format!("log: {{ syslog: {said} }}")).syslog;
    assert_eq!(to("/run/log"), "/run/log");
    assert_eq!(to("udp://10.0.0.1:514"), "udp://10.0.0.1:514");
    assert_eq!((to("true").as_str(), to("false").as_str()), ("/dev/log", ""));
}

#[test]
fn services_with_the_usual_log_share_it() {
    for yaml in ["", "log: ring", "log: { mode: ring, keep: }"] {
        assert!(Arc::ptr_eq(&parsed(&format!("exec: ls\n{yaml}\n")).log, &Log::usual()), "{yaml}");
    }
}

#[test]
fn a_log_is_written_as_briefly_as_it_can_be() {
    let written = |yaml: &str| parsed(&format!("exec: ls\n{yaml}\n")).to_yaml();
    assert_eq!(written("log: { mode: none }"), "exec: ls\nlog: none\n");
    assert_eq!(written("log: { mode: ring, rotate_age: 0 }"), "exec: ls\n");
    assert_eq!(
        written("log: { mode: file, dir: /srv, rotate_size: 4096, compress: zstd }"),
        "exec: ls\nlog:\n  dir: /srv\n  rotate_size: 4KiB\n  compress: zstd\n"
    );
    assert_eq!(written("log_to: logger"), "exec: ls\nlog_to: logger\n");
    assert_eq!(written("log_to: 'null'"), "exec: ls\nlog_to: \"null\"\n");
}

#[test]
fn a_log_is_told_to_programs_as_a_word_or_with_every_key() {
    let told = |yaml: &str| parsed(&format!("exec: ls\n{yaml}\n")).to_config();
    assert_eq!(told("log: file")["log"], "file");
    let full = told("log: { dir: /srv, rotate_size: 1MiB }");
    let meant = json!({
        "mode": "file", "dir": "/srv", "rotate_size": 1_048_576, "rotate_age": 0, "keep": null,
        "compress": null, "full": "drop", "syslog": "",
    });
    assert_eq!((&full["log"], &full["log_to"]), (&meant, &Value::Null));
    assert_eq!(told("log_to: logger")["log_to"], "logger");
    let mut keys: Vec<&str> = super::super::keys::LOG.iter().map(|it| it.name).collect();
    keys.sort_unstable();
    let spelled = meant.as_object().expect("a map").keys();
    assert_eq!(keys, spelled.map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn who_reads_the_output_is_wanted_too() {
    let wanted = |yaml: &str| {
        let spec = parsed(&format!("exec: ls\n{yaml}\n"));
        spec.wanted().map(|it| it.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(wanted("log_to: logger"), ["logger"]);
    assert_eq!(wanted("wants: [mail, logger]\nlog_to: logger"), ["mail", "logger"]);
}

#[test]
fn what_contradicts_itself_is_refused() {
    says(
        "exec: ls\nlog: none\nlog_to: logger\n",
        "web.yaml:2:6: `log` beside `log_to`: the output is the input of `logger`\n|log: none\n|     ^\n= say how to log it in `logger`",
    );
    says(
        "exec: ls\nlog_to: logger\nready_log: up\n",
        "web.yaml:3:12: `ready_log` beside `log_to`: `logger` reads the output\n|ready_log: up\n|           ^\n= have it say so by `notify` or `ready_fd`",
    );
    says(
        "exec: ls\nlog: { mode: none, keep: 3 }\n",
        "web.yaml:2:6: `log` is nothing but `none` where nothing is logged\n|log: { mode: none, keep: 3 }\n|     ^\n= write `log: none`, or leave `mode` out",
    );
    assert_eq!(parsed("exec: ls\nlog: ring\nlog_to: logger").log, Log::usual());
}

#[test]
fn a_key_of_a_log_that_there_is_not_is_shown_with_the_nearest() {
    says(
        "exec: ls\nlog: { rotate_sise: 1MiB }\n",
        "web.yaml:2:8: unknown key `log.rotate_sise`\n|log: { rotate_sise: 1MiB }\n|       ^\n= did you mean `rotate_size`?",
    );
    says(
        "exec: ls\nrotate_size: 1MiB\n",
        "web.yaml:2:1: unknown key `rotate_size`\n|rotate_size: 1MiB\n|^\n= it belongs under `log`",
    );
}

#[test]
fn what_a_log_cannot_be_is_said() {
    let told = [
        ("mode: ram", "`log.mode` cannot be `ram`"),
        ("dir: logs", "`log.dir` must be a path that begins with `/`, not `logs`"),
        (
            "rotate_size: 4095",
            "`log.rotate_size` must be a size, and `4095` is not: it is less than 4KiB",
        ),
        ("rotate_age: soon", "`log.rotate_age` must be a duration"),
        ("keep: 100001", "`log.keep` must be a whole number from 0 to 100000, not `100001`"),
        ("compress: gzip", "`log.compress` cannot be `gzip`"),
        ("full: wait", "`log.full` cannot be `wait`"),
        ("syslog: udp://here:514", "`log.syslog` must name an address and a port, not `here:514`"),
        ("syslog: here", "`log.syslog` must be `true`, a path or `udp://ADDRESS:PORT`, not `here`"),
    ];
    for (said, what) in told {
        let no = refused(&format!("exec: ls\nlog: {{ {said} }}\n"));
        assert!(no.contains(what), "{no}");
    }
    assert!(refused("exec: ls\nlog_to: a b\n").contains("in `log_to`: "));
    assert!(refused("exec: ls\nlog_to: [a, b]\n").contains("`log_to` must be text, not a list"));
}

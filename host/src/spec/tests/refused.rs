//! What is said about service files that cannot be.

use super::*;

#[test]
fn an_unknown_key_is_shown_with_the_nearest_known_one() {
    says(
        "exec: ls\nonehsot: true\n",
        "web.yaml:2:1: unknown key `onehsot`\n|onehsot: true\n|^\n= did you mean `oneshot`?",
    );
    says(
        "exec: ls\nhealth:\n  retires: 3\n",
        "web.yaml:3:3: unknown key `health.retires`\n|  retires: 3\n|  ^\n= did you mean `retry`?",
    );
    says(
        "exec: ls\nsignal: { kill: 9 }",
        "web.yaml:2:11: unknown key `signal.kill`\n|signal: { kill: 9 }\n|          ^\n= the keys are `stop`",
    );
    says(
        "command: ls",
        "web.yaml:1:1: unknown key `command`\n|command: ls\n|^\n= did you mean `exec`?",
    );
    says("Exec: ls", "web.yaml:1:1: unknown key `Exec`\n|Exec: ls\n|^\n= did you mean `exec`?");
}

#[test]
fn a_key_given_twice_is_refused() {
    says(
        "exec: ls\nexec: cat\n",
        "web.yaml:2:1: `exec` is given twice\n|exec: cat\n|^\n= line 1 has it already",
    );
    says(
        "exec: ls\nhealth: { cmd: a, test_cmd: b }",
        "web.yaml:2:19: `health.test_cmd` is given twice\n|health: { cmd: a, test_cmd: b }\n|                  ^\n= line 2 has it already",
    );
    says(
        "exec: ls\nenv: { A: 1, A: 2 }",
        "web.yaml:2:14: `env.A` is given twice\n|env: { A: 1, A: 2 }\n|             ^\n= ",
    );
    says(
        "exec: ls\nsignal_stop: INT\nsignal: { stop: HUP }",
        "web.yaml:3:17: `signal.stop` and `signal_stop` contradict each other\n|signal: { stop: HUP }\n|                ^\n= ",
    );
}

#[test]
fn a_file_without_a_service_says_what_is_missing() {
    let told = "web.yaml:1:1: `exec` is missing\n|{}\n|^\n= write at least a line such as `exec: sleep 100`";
    for yaml in
        ["", "# nothing\n", "oneshot: true\n", "exec:\n", "exec: ''\n", "\n---\n", "\u{feff}"]
    {
        let first = yaml.lines().next().unwrap_or("");
        says(yaml, &told.replace("{}", &first.replace('\u{feff}', "")));
    }
    says(
        "- ls\n- cat\n",
        "web.yaml:1:1: a service is a map of keys, not a list\n|- ls\n|^\n= write at least a line such as `exec: sleep 100`",
    );
    says(
        "exec ls\n",
        "web.yaml:1:1: a service is a map of keys, not text\n|exec ls\n|^\n= write at least a line such as `exec: sleep 100`",
    );
}

#[test]
fn malformed_yaml_is_shown_with_its_line() {
    says(
        "exec: a: b\n",
        "web.yaml:1:8: malformed YAML: mapping values are not allowed in this context\n|exec: a: b\n|       ^\n= put a value with `: ` in it in quotes, or check the indentation",
    );
    says(
        "health:\n\tcmd: x\n",
        "web.yaml:2:2: malformed YAML: tabs disallowed within this context (block indentation)\n| cmd: x\n| ^\n= indent with spaces",
    );
    says(
        "exec: 'x\n",
        "web.yaml:1:7: malformed YAML: unclosed quote\n|exec: 'x\n|      ^\n= close the quote",
    );
    says(
        "exec: [a, b\n",
        "web.yaml:1:7: malformed YAML: unclosed bracket `[`\n|exec: [a, b\n|      ^\n= close the bracket",
    );
    says(
        "exec: x\nbad\n",
        "web.yaml:2:1: malformed YAML: simple key expected `:`\n|bad\n|^\n= write `key: value`, with a space after the colon",
    );
    says(
        "exec: @foo\n",
        "web.yaml:1:7: malformed YAML: unexpected character `@`\n|exec: @foo\n|      ^\n= put a value that starts with such a character in quotes",
    );
    says(
        "exec: *foo\n",
        "web.yaml:1:7: malformed YAML: reference to unknown value\n|exec: *foo\n|      ^\n= put a value that starts with `*` in quotes",
    );
    says(
        "exec: a\n---\nexec: b\n",
        "web.yaml:3:1: malformed YAML: only single YAML document expected but multiple found\n|exec: b\n|^\n= write one service per file",
    );
}

#[test]
fn a_command_line_that_is_none_is_refused() {
    says(
        "exec: sh -c \"a\n",
        "web.yaml:1:7: the quotes of `exec` are unbalanced: sh -c \"a\n|exec: sh -c \"a\n|      ^\n= close the quote, or put a backslash before it",
    );
    says(
        "exec: ls \\",
        "web.yaml:1:7: `exec` ends with a lone backslash\n|exec: ls \\\n|      ^\n= write `\\\\` for one",
    );
    says(
        "exec: '  '",
        "web.yaml:1:7: `exec` is empty\n|exec: '  '\n|      ^\n= write at least a line such as `exec: sleep 100`",
    );
    says(
        "exec: \"''\"",
        "web.yaml:1:7: `exec` names no program\n|exec: \"''\"\n|      ^\n= the first word is the program to run",
    );
    says(
        "exec: \"a\\0b\"",
        "web.yaml:1:7: `exec` has a NUL byte in it\n|exec: \"a\\0b\"\n|      ^\n= ",
    );
    says(
        "exec: [sleep, 1]",
        "web.yaml:1:7: `exec` must be text, not a list\n|exec: [sleep, 1]\n|      ^\n= ",
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_refused() {
    let about = |line: &str| {
        let said = refused(&format!("exec: ls\n{line}\n"));
        let (message, rest) = said.split_once('\n').expect("a message and a line");
        let hint = rest.rsplit_once("= ").expect("a hint").1;
        let message = message.strip_prefix("web.yaml:2:").expect("it is in line 2");
        format!("{message} ({hint})")
    };
    let duration = "a number is seconds; or write `200ms`, `10s`, `5m`, `1h`, `2d`";
    let path = "a `-` before the path lets the file be missing";
    let limit = "write a number, `unlimited`, or a soft and a hard one: `1024:4096`";
    let size = "a number is bytes; or write `64KiB`, `512MiB`, `1GiB`";
    let regex = "a backslash takes the meaning from a character: `\\(`, `\\.`";
    let told = [
        ("restart: no", "10: `restart` cannot be `no` (it can be `always`, `on-failure`, `never`)".to_owned()),
        ("max_restarts: many", "15: `max_restarts` must be a whole number from 0 to 1000000, not `many` ()".to_owned()),
        ("on_give_up: mail 'me", "13: the quotes of `on_give_up` are unbalanced: mail 'me (close the quote, or put a backslash before it)".to_owned()),
        ("stop_cmd: ' '", "11: `stop_cmd` is empty (write at least a line such as `stop_cmd: sleep 100`)".to_owned()),
        ("ready_fd: 2", "11: `ready_fd` must be a whole number from 3 to 1023, not `2` ()".to_owned()),
        ("ready_fd: 1e3", "11: `ready_fd` must be a whole number from 3 to 1023, not `1e3` ()".to_owned()),
        ("ready_log: 'ready (now'", format!("12: `ready_log` is no regular expression: unclosed group, at character 7 ({regex})")),
        ("ready_log: 'x{9999}{9999}'", format!("12: `ready_log` is no regular expression: it is too large ({regex})")),
        ("watchdog: soon", format!("11: `watchdog` must be a duration, and `soon` is not: its unit is not one of ms, s, m, h and d ({duration})")),
        ("groups: [a b]", "10: in `groups`: `a b` is no group's name: 1 to 64 letters, digits, `_`, `-`, `.` or `@`, starting with a letter or a digit ()".to_owned()),
        ("requires: ../b", "11: in `requires`: `../b` is no service name: 1 to 64 letters, digits, `_`, `-`, `.` or `@`, starting with a letter or a digit ()".to_owned()),
        ("user: a:b", "7: `user` must be a name or a number, not `a:b` ()".to_owned()),
        ("supplementary_groups: [adm, '']", "29: `supplementary_groups` must be a name or a number, not `` ()".to_owned()),
        ("umask: 999", "8: `umask` must be octal digits from 0000 to 0777, not `999` (for example `\"0027\"`: nothing for others)".to_owned()),
        ("umask: 7777", "8: `umask` must be octal digits from 0000 to 0777, not `7777` (for example `\"0027\"`: nothing for others)".to_owned()),
        ("umask: -1", "8: `umask` must be octal digits from 0000 to 0777, not `-1` (for example `\"0027\"`: nothing for others)".to_owned()),
        ("nice: 20", "7: `nice` must be a whole number from -20 to 19, not `20` ()".to_owned()),
        ("oom_score_adj: -1001", "16: `oom_score_adj` must be a whole number from -1000 to 1000, not `-1001` ()".to_owned()),
        ("limits: { nofiles: 1 }", "11: there is no limit `nofiles` (did you mean `nofile`?)".to_owned()),
        ("limits: { LimitNOFILE: 1 }", "11: there is no limit `LimitNOFILE` (did you mean `nofile`?)".to_owned()),
        ("limits: { nofile: 1GiB }", format!("19: `limits.nofile` must be a limit, and `1GiB` is not: it is neither a whole number nor `unlimited` ({limit})")),
        ("limits: { nofile: '9:5' }", format!("19: `limits.nofile` must be a limit, and `9:5` is not: its soft limit is above its hard one ({limit})")),
        ("limits: { nofile: -1 }", format!("19: `limits.nofile` must be a limit, and `-1` is not: it is neither a whole number nor `unlimited` ({limit})")),
        ("limits: { nofile: [1] }", "19: `limits.nofile` must be text, not a list ()".to_owned()),
        ("limits: 1024", "9: `limits` must be a map, not a number (write `limits: { nofile: 1024 }`)".to_owned()),
        ("env_file: .env", format!("11: `env_file` must be a path that begins with `/`, not `.env` ({path})")),
        ("memory_max: 512", format!("13: `memory_max` must be a size, and `512` is not: it is less than 64KiB ({size})")),
        ("memory_max: 1.5G", format!("13: `memory_max` must be a size, and `1.5G` is not: it is not a whole number ({size})")),
        ("cpu_max: half", "10: `cpu_max` must be a whole number from 1 to 100000, not `half` ()".to_owned()),
        ("cpu_max: 0%", "10: `cpu_max` must be a whole number from 1 to 100000, not `0%` ()".to_owned()),
        ("pids_max: 0", "11: `pids_max` must be a whole number from 1 to 4194304, not `0` ()".to_owned()),
        ("health: { timeout: -2 }", format!("20: `health.timeout` must be a duration, and `-2` is not: it is negative ({duration})")),
        ("shutdown_timeout: -1", format!("19: `shutdown_timeout` must be a duration, and `-1` is not: it is negative ({duration})")),
        ("restart_delay: 5 years", format!("16: `restart_delay` must be a duration, and `5 years` is not: its unit is not one of ms, s, m, h and d ({duration})")),
        ("health: { retry: -1 }", "18: `health.retry` must be a whole number from 0 to 1000000, not `-1` ()".to_owned()),
        ("oneshot: yes", "10: `oneshot` must be `true` or `false`, not `yes` ()".to_owned()),
        ("oneshot: [true]", "10: `oneshot` must be `true` or `false`, not a list ()".to_owned()),
        ("status: foo", "9: `status` cannot be `foo` (it can be `start`, `stop`, `ignore`)".to_owned()),
        ("log: Ring", "6: `log` cannot be `Ring` (it can be `ring`, `file`, `stdout`, `none`)".to_owned()),
        ("log: [file]", "6: `log` must be text, not a list ()".to_owned()),
        ("after: [a, ../b]", "12: in `after`: `../b` is no service name: 1 to 64 letters, digits, `_`, `-`, `.` or `@`, starting with a letter or a digit ()".to_owned()),
        ("after: { a: b }", "8: `after` must be text, not a map ()".to_owned()),
        ("env: [A=b]", "6: `env` must be a map, not a list (write `env: { NAME: value }`)".to_owned()),
        ("env: { A=: b }", "8: `A=` cannot be a variable's name ()".to_owned()),
        ("env: { A: [b] }", "11: `env.A` must be text, not a list ()".to_owned()),
        ("signal: { stop: SIGTREM }", "17: `signal.stop` names no signal: `SIGTREM` (did you mean `SIGTERM`?)".to_owned()),
        ("signal: HUP", "9: `signal` must be a map, not text (write `signal: { stop: SIGTERM }`)".to_owned()),
        ("health: { tcp: 5432 }", "16: `health.test_tcp` must be `host:port`, not `5432` (for example `localhost:5432`)".to_owned()),
        ("health: { tcp: [\"a:0\"] }", "17: `health.test_tcp` must be `host:port`, not `a:0` (for example `localhost:5432`)".to_owned()),
        ("health: { http: ftp://x }", "17: `health.test_http` must be an http or https URL, not `ftp://x` (for example `http://localhost:8080/`)".to_owned()),
        ("xinit: { enabled: true, listen: /a }", "8: `xinit` is enabled but has no backend (add `backend`, the address where the service listens, or `health: { tcp: ... }`)".to_owned()),
        ("xinit: { enabled: true, backend: /a }", "8: `xinit` is enabled but listens nowhere (add `listen`, an address such as `127.0.0.1:8080` or the path of a socket)".to_owned()),
    ];
    for (line, told) in told {
        assert_eq!(about(line), told, "{line}");
    }
}

#[test]
fn a_service_says_in_one_way_that_it_is_ready() {
    says(
        "exec: ls\nready_fd: 3\nnotify: true\n",
        "web.yaml:2:11: `ready_fd` beside `notify`: a service says in one way that it is ready\n|ready_fd: 3\n|          ^\n= keep one of the two",
    );
    says(
        "exec: ls\nready_log: up\nready_fd: 3\n",
        "web.yaml:2:12: `ready_log` beside `ready_fd`: a service says in one way that it is ready\n|ready_log: up\n|           ^\n= keep one of the two",
    );
    says(
        "exec: ls\nready_fd: 3\nwatchdog: 5\n",
        "web.yaml:3:11: `watchdog` needs `NOTIFY_SOCKET`, which is not there beside `ready_fd`\n|watchdog: 5\n|          ^\n= have the service say `READY=1` there as well: `notify: true`",
    );
}

#[test]
fn a_key_that_belongs_elsewhere_is_shown_its_place() {
    says(
        "exec: ls\nretry: 3\n",
        "web.yaml:2:1: unknown key `retry`\n|retry: 3\n|^\n= it belongs under `health`",
    );
    says(
        "exec: ls\nmem_limit: 3\n",
        "web.yaml:2:1: unknown key `mem_limit`\n|mem_limit: 3\n|^\n= did you mean `memory_max`?",
    );
}

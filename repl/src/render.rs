//! What users see: texts from answers, and sentences from refusals. Drawing only.

mod place;
mod times;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stderr, stdin, stdout};

use nu_ansi_term::{Color, Style};
use serde_json::{Value, json};
use zinit_host::refusal::{Kind, Refusal};

use crate::show::text::visible_lines;
pub(crate) use times::{ago, clock, in_secs, lasts, secs_since, since, took};

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    /// Colours on a terminal that has them, unless `NO_COLOR` is set.
    pub(crate) fn for_stdout() -> Self {
        Self(stdout().is_terminal() && wanted())
    }

    fn for_stderr() -> Self {
        Self(stderr().is_terminal() && wanted())
    }

    pub(crate) fn on(self, style: Style, text: &str) -> String {
        if self.0 { style.paint(text).to_string() } else { text.to_owned() }
    }

    /// The name of a service, in a colour of its own.
    pub(crate) fn name(self, name: &str) -> String {
        const COLOURS: [Color; 6] = [
            Color::Cyan,
            Color::Green,
            Color::Yellow,
            Color::Blue,
            Color::Purple,
            Color::LightCyan,
        ];
        let sum = name.bytes().fold(0_usize, |sum, it| sum.wrapping_mul(31) + usize::from(it));
        self.on(COLOURS[sum % COLOURS.len()].normal(), name)
    }

    /// Whether there are colours.
    pub(crate) fn is_on(self) -> bool {
        self.0
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.on(Style::new().bold(), text)
    }

    pub(crate) fn state(self, state: &str) -> String {
        let colour = match state {
            "Running" | "Success" => Color::Green,
            "Spawned" | "Stopping" => Color::Yellow,
            "Blocked" | "Backoff" => Color::Cyan,
            "Failed" => Color::Red,
            _ => Color::Blue,
        };
        self.on(colour.normal(), state)
    }
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()) && !is_dumb()
}

/// Whether the terminal understands no more than text.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|it| it.is_empty() || it == "dumb")
}

/// Prints to standard output. Whoever closed it does not want to hear of it.
pub(crate) fn print(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// As [`print`], but tells whether somebody still reads.
pub(crate) fn is_read(text: &str) -> bool {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Says on stderr what somebody should know, whoever that is.
pub(crate) fn warn(text: &str) {
    let _ = stderr().write_all(warning(text).as_bytes());
}

/// What [`warn`] says.
pub(crate) fn warning(text: &str) -> String {
    Paint::for_stderr().on(Color::Yellow.normal(), &visible_lines(text)) + "\n"
}

/// Says something in passing to whoever sits before the terminal, if anybody does.
pub(crate) fn remark(text: &str) {
    if stderr().is_terminal() {
        let text = Paint::for_stderr().on(Style::new().dimmed(), &visible_lines(text));
        let _ = writeln!(stderr(), "{text}");
    }
}

/// Asks on the terminal, and returns the answer; nothing where there is no terminal.
pub(crate) fn asked(question: &str) -> Option<String> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return None;
    }
    let _ = write!(stderr(), "{question}");
    let mut answer = String::new();
    stdin().read_line(&mut answer).ok().map(|_| answer)
}

/// Prints a refusal to standard error, and returns the exit code that goes with it.
pub(crate) fn complain(refusal: &Refusal) -> u8 {
    let _ = stderr().write_all(self::refusal(refusal, Paint::for_stderr()).as_bytes());
    exit_code(refusal.kind)
}

/// As [`complain`], for programs.
pub(crate) fn complain_as_json(refusal: &Refusal) -> u8 {
    let _ = writeln!(stderr(), "{}", json!({ "error": refusal_as_json(refusal) }));
    exit_code(refusal.kind)
}

/// A refusal for programs.
pub(crate) fn refusal_as_json(refusal: &Refusal) -> Value {
    let Refusal { kind, message, hint, data } = refusal;
    json!({ "code": kind.word(), "message": message, "hint": hint, "data": data })
}

fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::NoServer => 3,
        Kind::TimedOut => 4,
        Kind::Interrupted => 130,
        _ => 1,
    }
}

/// The sentence, the line that it is about with a caret below the place, and the hint.
pub(crate) fn refusal(refusal: &Refusal, paint: Paint) -> String {
    refusal_as(&paint.on(Color::Red.bold(), "error:"), refusal, paint)
}

/// The same under another heading. What it says may come from anywhere: it does nothing to the terminal but
/// to be drawn.
pub(crate) fn refusal_as(heading: &str, refusal: &Refusal, paint: Paint) -> String {
    let message = visible_lines(&refusal.message);
    let hint = refusal.hint.as_deref().map(visible_lines);
    // Where in a script it was noticed does not matter, and one line is enough.
    if let (Kind::NoServer, Some(hint)) = (refusal.kind, &hint) {
        return format!("{heading} {message}; {hint}\n");
    }
    let mut text = format!("{heading} {message}\n");
    text += &place::drawn(refusal, place::look());
    for problem in refusal.data.get("problems").and_then(Value::as_array).into_iter().flatten() {
        text += &self::refusal(&inner(problem), paint);
    }
    if let Some(hint) = hint {
        let _ = writeln!(text, "{} {hint}", paint.on(Color::Cyan.bold(), "hint:"));
    }
    text
}

/// A refusal that came inside another one.
fn inner(it: &Value) -> Refusal {
    let data = it.as_object().cloned().unwrap_or_default();
    let hint = it["hint"].as_str().map(str::to_owned);
    Refusal { kind: Kind::BadConfig, message: word(it, "message").to_owned(), hint, data }
}

/// All services, a line each.
pub(crate) fn list(all: &Value, paint: Paint) -> String {
    let Some(all) = all.as_array().filter(|it| !it.is_empty()) else {
        return "No services registered\n".to_owned();
    };
    let mut text = String::from("Services:\n");
    for it in all {
        let (name, state) = (word(it, "name"), word(it, "state"));
        let _ = write!(text, "  {} {}", paint.bold(name), paint.state(state));
        match number(it, "pid") {
            0 if ["Blocked", "Failed", "Backoff"].contains(&state) => {
                _ = write!(text, " ({})", word(it, "reason"));
            }
            0 => {}
            pid => _ = write!(text, " (pid: {pid})"),
        }
        let health = word(it, "health");
        if !["", "ok"].contains(&health) {
            _ = write!(text, " {}", paint.on(Color::Red.normal(), &format!("unhealthy: {health}")));
        }
        text.push('\n');
    }
    text
}

/// One service, a fact each line.
pub(crate) fn status(it: &Value, paint: Paint) -> String {
    let mut text = format!("Service: {}\n", paint.bold(word(it, "name")));
    let mut fact = |key: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {key}: {value}");
        }
    };
    fact("State", &paint.state(word(it, "state")));
    fact("Target", word(it, "target"));
    if number(it, "pid") != 0 {
        fact("PID", &number(it, "pid").to_string());
    }
    fact("Reason", word(it, "reason"));
    fact("Since", &since(number(it, "since_ms")));
    fact("Essential", if it["essential"] == true { "yes" } else { "" });
    fact("Restarts", &number(it, "restarts").to_string());
    fact("Last exit", word(it, "last_exit"));
    if number(it, "next_ms") > 0 {
        fact("Next", format!("{} {}", word(it, "next"), in_secs(number(it, "next_ms"))).trim());
    }
    fact("Listens", word(it, "listens"));
    fact("Waits for", &words(&it["waits_for"]));
    fact("Health", word(it, "health"));
    fact("Says", word(it, "says"));
    let dropped = &it["log_dropped"];
    if dropped.is_object() {
        let (lines, bytes) = (number(dropped, "lines"), number(dropped, "bytes"));
        fact("Log dropped", &format!("{lines} lines ({bytes} bytes)"));
    }
    fact("After", &words(&it["after"]));
    fact("Requires", &words(&it["requires"]));
    fact("Wants", &words(&it["wants"]));
    fact("Groups", &words(&it["groups"]));
    fact("Labels", &pairs(&it["labels"]));
    fact("Policy", &pairs(&it["policy"]));
    // One that was launched this moment has a process before its number is known.
    let gone = number(it, "pid") == 0 && word(it, "state") != "Spawned";
    if gone || word(it, "state") == "Stopping" {
        fact("Survivors", &processes(it));
    }
    text
}

fn words(it: &Value) -> String {
    items(it).filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// The entries of a map of texts: `owner=ops, tier=web`. What stands for all names goes without one.
fn pairs(it: &Value) -> String {
    // A control character must not reach the terminal.
    let plain = |it: char| if it.is_control() { ' ' } else { it };
    let one = |(name, value): (&String, &Value)| -> String {
        let value = value.as_str().unwrap_or_default();
        let pair = if name == "*" { value.to_owned() } else { format!("{name}={value}") };
        pair.chars().map(plain).collect()
    };
    it.as_object().into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}

/// The processes of a service, at most eight of them: `71 sh, 72 sleep`.
pub(crate) fn processes(it: &Value) -> String {
    let all = it["process_tree"]["processes"].as_object().into_iter().flatten();
    let all: Vec<_> = all.map(|(pid, it)| format!("{pid} {}", word(it, "name"))).collect();
    let more = if all.len() > 8 { format!(" and {} more", all.len() - 8) } else { String::new() };
    let shown = &all[..all.len().min(8)];
    format!("{}{more}", shown.join(", "))
}

/// What one service uses.
pub(crate) fn stats(name: &str, it: &Value, paint: Paint) -> String {
    let mut text = format!(
        "Service: {}\n  PID: {}\n  Memory: {} MB\n  CPU: {:.1}%\n",
        paint.bold(name),
        number(it, "pid"),
        mib(it, "memory_usage"),
        cpu(it)
    );
    let mut fact = |key: &str, value: String| _ = writeln!(text, "  {key}: {value}");
    if it["processes"].is_u64() {
        let (all, shared) = (megabytes(it, "memory_total"), megabytes(it, "pss_total"));
        fact("Memory of all", format!("{all} ({shared} PSS)"));
        fact("Processes", number(it, "processes").to_string());
        fact("Threads", number(it, "threads").to_string());
        fact("Descriptors", number(it, "fds").to_string());
        fact("Uptime", ago(uptime(it)));
        fact("Restarts", number(it, "restarts").to_string());
    }
    for (index, child) in items(&it["children"]).enumerate() {
        if index == 0 {
            text += "  Children:\n";
        }
        let pid = number(child, "pid");
        let mib = mib(child, "memory_usage");
        let _ = writeln!(text, "    PID {pid}: {mib} MB, {:.1}% CPU", cpu(child));
    }
    text
}

/// What services use, a line each.
pub(crate) fn usage(all: &Value, paint: Paint) -> String {
    let width = items(all).map(|it| word(it, "name").len()).max().unwrap_or(0).max(7);
    let head = format!(
        "{:width$} {:>8} {:>6} {:>8} {:>5} {:>7} {:>5} {:>8} {:>8}",
        "SERVICE", "PID", "CPU%", "MEMORY", "PROCS", "THREADS", "FDS", "UPTIME", "RESTARTS"
    );
    let mut text = format!("{}\n", paint.bold(&head));
    for it in items(all) {
        let _ = writeln!(
            text,
            "{:width$} {:>8} {:>6.1} {:>8} {:>5} {:>7} {:>5} {:>8} {:>8}",
            word(it, "name"),
            number(it, "pid"),
            cpu(it),
            megabytes(it, "memory_total"),
            number(it, "processes"),
            number(it, "threads"),
            number(it, "fds"),
            ago(uptime(it)),
            number(it, "restarts"),
        );
    }
    text
}

fn cpu(it: &Value) -> f64 {
    it["cpu_usage"].as_f64().unwrap_or_default()
}

fn mib(it: &Value, key: &str) -> i64 {
    number(it, key) / (1 << 20)
}

fn megabytes(it: &Value, key: &str) -> String {
    format!("{:.1} MB", number(it, key) as f64 / 1_048_576.0)
}

fn uptime(it: &Value) -> u64 {
    u64::try_from(number(it, "uptime_ms")).unwrap_or(0) / 1000
}

pub(crate) fn word<'a>(it: &'a Value, key: &str) -> &'a str {
    it[key].as_str().unwrap_or_default()
}

pub(crate) fn number(it: &Value, key: &str) -> i64 {
    it[key].as_i64().unwrap_or_default()
}

pub(crate) fn items(it: &Value) -> impl Iterator<Item = &Value> {
    it.as_array().into_iter().flatten()
}

/// Without colours, for tests.
#[cfg(test)]
pub(crate) const PLAIN: Paint = Paint(false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_listed_with_state_and_pid() {
        let all = json!([
            { "name": "db", "state": "Running", "pid": 12 },
            { "name": "job", "state": "Success", "pid": 0 },
        ]);
        assert_eq!(list(&all, PLAIN), "Services:\n  db Running (pid: 12)\n  job Success\n");
        assert_eq!(list(&json!([]), PLAIN), "No services registered\n");
    }

    #[test]
    fn a_status_says_why_and_leaves_out_what_is_empty() {
        let it = json!({ "name": "web", "state": "Blocked", "target": "Up", "pid": 0,
            "reason": "waits for db", "since_ms": -1, "restarts": 2, "last_exit": "",
            "after": ["db", "cache"] });
        let text = "Service: web\n  State: Blocked\n  Target: Up\n  \
            Reason: waits for db\n  Restarts: 2\n  After: db, cache\n";
        assert_eq!(status(&it, PLAIN), text);
    }

    #[test]
    fn a_status_shows_what_a_policy_is_told() {
        let it = json!({ "name": "web", "since_ms": -1, "labels": { "owner": "o\u{1b}ps", "tier": "web" },
            "policy": { "gives_up": "decaying_score::gives_up", "restart_delay": "my_delay" } });
        let text = status(&it, PLAIN);
        let told = "  Labels: owner=o ps, tier=web\n  \
            Policy: gives_up=decaying_score::gives_up, restart_delay=my_delay\n";
        assert!(text.ends_with(told), "{text}");
        let text = status(&json!({ "since_ms": -1, "policy": { "*": "one_for_all" } }), PLAIN);
        assert!(text.ends_with("  Policy: one_for_all\n") && !text.contains("Labels"), "{text}");
    }

    #[test]
    fn a_colour_is_only_there_where_it_is_wanted() {
        assert_eq!(Paint(true).state("Failed"), "\u{1b}[31mFailed\u{1b}[0m");
        assert_eq!(PLAIN.state("Failed"), "Failed");
    }

    #[test]
    fn a_refusal_with_a_place_shows_the_line_and_a_caret_below_the_place() {
        let it = Refusal::new(Kind::BadConfig, "unknown key `exce`")
            .hint("did you mean `exec`?")
            .with("path", "web.yaml")
            .with("line", 12)
            .with("column", 2)
            .with("source", "\texce: true");
        let text = "error: unknown key `exce`\n  --> web.yaml:12:2\n 12 | \texce: true\n    | \t^\n\
            hint: did you mean `exec`?\n";
        assert_eq!(refusal(&it, PLAIN), text);
    }

    #[test]
    fn what_a_refusal_says_does_nothing_to_the_terminal() {
        let it = Refusal::new(Kind::BadArgument, "a\u{1b}[2J\tb\nc")
            .hint("\u{1b}]0;title\u{7}")
            .with("path", "d\u{1b}[2J.rhai")
            .with("line", 1)
            .with("problems", json!([{ "message": "e\u{9b}2J", "hint": "\r" }]));
        let text = "error: a\\u{1b}[2J\tb\nc\n  --> d\\u{1b}[2J.rhai:1:1\n\
            error: e\\u{9b}2J\nhint: \\r\nhint: \\u{1b}]0;title\\u{7}\n";
        assert_eq!(refusal(&it, PLAIN), text);
        let it = Refusal::new(Kind::NoServer, "no \u{1b}").hint("\u{1b}");
        assert_eq!(refusal(&it, PLAIN), "error: no \\u{1b}; \\u{1b}\n");
        assert!(warning("a\u{1b}c").contains("a\\u{1b}c"));
    }

    #[test]
    fn that_no_server_answers_is_one_line_with_the_command_that_starts_one() {
        let it = Refusal::new(Kind::NoServer, "no server answers at /s")
            .hint("`zinit server start` starts one")
            .with("path", "a.rhai")
            .with("line", 1);
        let text = "error: no server answers at /s; `zinit server start` starts one\n";
        assert_eq!(refusal(&it, PLAIN), text);
    }
}

//! `zinit logs`: what services wrote, and what they write next.

use std::io::{IsTerminal, stdout};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use nu_ansi_term::Color;
use serde_json::{Value, json};
use zinit_host::interrupt::{Deadline, Interrupt};
use zinit_host::logs::stamp;
use zinit_host::moment;
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::rpc::client::Client;

use crate::commands::{Context, Outcome};
use crate::render::{self, Paint, items, word};
use crate::when::{self, When};
use zinit_host::harmless::harmless;

pub(crate) const EXAMPLES: &str = "\
A line is `[+] NAME: TEXT` if it came from stdout, [-] from stderr, and [!] if Zinit tells something
about the log, such as how many lines were dropped. Lines of all services are in the order of time.

Examples:
  zinit logs web db -n 50                   the newest 50 lines of two services
  zinit logs 'web-*' -f                     what they wrote last, and what they write next
  zinit logs --since 10m --grep 'time.?out' what matches, of the last ten minutes
  zinit logs --since 08:00 --until 08:30 -t with the time of each line
  zinit logs web --where level=error --json JSON or logfmt lines, as JSON for programs";

/// What `zinit logs` is told.
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// Services: names, globs such as 'web-*', or groups such as @jobs [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Goes on with what they write next, over restarts of the server
    #[arg(short = 'f', long, conflicts_with = "until")]
    follow: bool,
    /// The newest N lines only [default: 10 with -f, 100 on a terminal without --since or --until]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Nothing older: `10m` (ago), `12:00`, `2026-11-23 12:00`, `yesterday`, or as in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    since: Option<When>,
    /// Nothing newer
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    until: Option<When>,
    /// Only lines that match this regular expression
    #[arg(short = 'g', long, value_name = "REGEX")]
    grep: Option<String>,
    /// Only what came from standard error
    #[arg(long)]
    stderr: bool,
    /// Only what came from standard output
    #[arg(long, conflicts_with = "stderr")]
    stdout: bool,
    /// Shows when each line was written: here on a terminal, elsewhere in UTC
    #[arg(short = 't', long)]
    timestamps: bool,
    /// Only JSON or logfmt lines of which this field has this value; each of them, if there are more
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    wheres: Vec<String>,
}

/// How a line is shown.
#[derive(Clone, Copy, Debug)]
struct Look {
    paint: Paint,
    is_json: bool,
    is_timed: bool,
    is_here: bool,
}

/// Whether there is somebody who reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    There,
    Gone,
}

/// Lines that are asked for at once.
const PAGE: usize = 1_000;
/// At most so many are answered at once.
const PAGE_MAX: usize = 10_000;
/// How many are shown where nobody has said it.
const ON_TERMINAL: usize = 100;
const BEFORE_FOLLOWING: usize = 10;
/// How long a server may be away, and what it gets to know its services again.
const AWAY: Duration = Duration::from_secs(30);
const TO_LEARN: Duration = Duration::from_secs(5);
/// What is missing is told at most so often.
const TOLD: Duration = Duration::from_secs(1);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(100);

impl Logs {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let failed = |errno: nix::Error| Refusal::new(Kind::Internal, errno.desc());
        let interrupt = Interrupt::new().map_err(failed)?;
        // Whoever reads the output may have stopped, so nothing is waited for.
        interrupt.on_ctrl_c(|| process::exit(130)).map_err(failed)?;
        let mut client = cx.connect()?;
        let look = Look::new(cx, self.timestamps);
        let (cursor, reader) = match self.count() {
            Some(count) => self.show_newest(&mut client, look, count)?,
            None => self.show_all(&mut client, look)?,
        };
        if self.follow && reader == Reader::There {
            self.follow(cx, client, look, cursor, &interrupt)?;
        }
        Ok(0)
    }

    /// How many lines are shown; nothing for all.
    fn count(&self) -> Option<usize> {
        let has_span = self.since.is_some() || self.until.is_some();
        match self.lines {
            Some(count) => Some(count),
            None if has_span => None,
            None if self.follow => Some(BEFORE_FOLLOWING),
            None => stdout().is_terminal().then_some(ON_TERMINAL),
        }
    }

    /// Shows page after page, each as soon as it is there.
    fn show_all(&self, client: &mut Client, look: Look) -> Result<(Value, Reader), Refusal> {
        let mut cursor = Value::Null;
        let end = json!(moment::text(When::now().0));
        loop {
            let mut asked = json!({ "n": PAGE, "cursor": cursor });
            // What is written meanwhile is for those who follow.
            if !cursor.is_null() && !self.follow && self.until.is_none() {
                asked["until"] = end.clone();
            }
            let mut page = client.call("logs.read", self.asked(asked))?;
            cursor = page["cursor"].take();
            remark_unread(&page);
            let reader = look.show(&page);
            if reader == Reader::Gone || page["more"] != true {
                return Ok((cursor, reader));
            }
        }
    }

    /// Shows the newest lines. Many of them come in several pages, the newest first.
    fn show_newest(
        &self,
        client: &mut Client,
        look: Look,
        count: usize,
    ) -> Result<(Value, Reader), Refusal> {
        let (mut pages, mut left) = (Vec::new(), count);
        let mut span = json!({ "tail": true });
        loop {
            span["n"] = json!(left.min(PAGE_MAX));
            let page = client.call("logs.read", self.asked(span.clone()))?;
            let lines = items(&page["lines"]).count();
            left -= lines.min(left);
            let first = items(&page["lines"]).next().map(|it| nanoseconds(word(it, "time")));
            let is_all = page["more"] != true;
            pages.push(page);
            match first {
                Some(first_ns) if left > 0 && !is_all => {
                    span["until"] = json!(moment::text(first_ns - 1));
                }
                _ => break,
            }
        }
        if self.lines.is_none() && !self.follow && pages.last().is_some_and(|it| it["more"] == true)
        {
            render::remark(&format!(
                "... older lines are not shown; `-n {}` or `--since 1h` shows more",
                count * 10
            ));
        }
        remark_unread(&pages[0]);
        let cursor = pages[0]["cursor"].clone();
        let gone = pages.iter().rev().any(|it| look.show(it) == Reader::Gone);
        Ok((cursor, if gone { Reader::Gone } else { Reader::There }))
    }

    /// Shows what comes, until nobody reads any more or the server is gone for good.
    fn follow(
        &self,
        cx: &Context,
        mut client: Client,
        look: Look,
        mut cursor: Value,
        interrupt: &Arc<Interrupt>,
    ) -> Result<(), Refusal> {
        let mut learns_until = Deadline::within(Duration::ZERO);
        let mut told_until = learns_until;
        loop {
            let asked = self.asked(json!({ "cursor": cursor, "secs": 60 }));
            match client.call("logs.wait", asked) {
                Ok(mut page) => {
                    // In a flood there is more of it with every page.
                    if told_until.has_passed() {
                        told_until = Deadline::within(TOLD);
                        remark_unread(&page);
                    }
                    if look.show(&page) == Reader::Gone {
                        return Ok(());
                    }
                    cursor = page["cursor"].take();
                }
                Err(no) if [Kind::NoServer, Kind::ShuttingDown].contains(&no.kind) => {
                    client = again(cx, interrupt)?;
                    learns_until = Deadline::within(TO_LEARN);
                }
                Err(no) if no.kind == Kind::UnknownService && !learns_until.has_passed() => {
                    let _ = interrupt.sleep(LOOK);
                }
                Err(no) => return Err(no),
            }
        }
    }

    /// The parameters of a call: these, and which lines are meant.
    fn asked(&self, mut params: Value) -> Value {
        let mut add = |key: &str, value: Value| params[key] = value;
        if !self.names.is_empty() {
            add("names", json!(self.names));
        }
        add("grep", json!(self.grep));
        add("where", json!(self.wheres));
        match (self.stdout, self.stderr) {
            (true, _) => add("stream", json!("stdout")),
            (_, true) => add("stream", json!("stderr")),
            _ => {}
        }
        if params.get("secs").is_none() {
            let text = |it: Option<When>| it.map(|it| moment::text(it.0));
            params["since"] = json!(text(self.since));
            if params.get("until").is_none() {
                params["until"] = json!(text(self.until));
            }
        }
        params
    }
}

/// A client of the server that follows the one that has gone. It has up to half a minute for that.
pub(crate) fn again(cx: &Context, interrupt: &Interrupt) -> Result<Client, Refusal> {
    let limit = Deadline::within(AWAY);
    let mut is_told = false;
    loop {
        // One that is stopping may still answer.
        let _ = interrupt.sleep(LOOK);
        match cx.connect() {
            Err(no) if no.kind == Kind::NoServer && !limit.has_passed() => {
                if !is_told {
                    render::remark("... the server has gone; waiting for the next one");
                }
                is_told = true;
            }
            other => return other,
        }
    }
}

/// Says what cannot be shown: logs that cannot be read, and lines that were removed before that.
fn remark_unread(page: &Value) {
    items(&page["unread"]).filter_map(Value::as_str).for_each(render::warn);
}

fn nanoseconds(time: &str) -> i64 {
    stamp::parse(time.as_bytes()).unwrap_or(i64::MAX)
}

impl Look {
    fn new(cx: &Context, is_timed: bool) -> Self {
        let (paint, is_json) = (cx.paint, cx.flags.json);
        Self { paint, is_json, is_timed, is_here: stdout().is_terminal() }
    }

    /// Prints a page in one go.
    fn show(self, page: &Value) -> Reader {
        let mut text = String::new();
        for line in items(&page["lines"]) {
            self.write(&mut text, line);
        }
        if text.is_empty() || render::is_read(&text) { Reader::There } else { Reader::Gone }
    }

    fn write(self, out: &mut String, line: &Value) {
        if self.is_json {
            *out += &line.to_string();
            out.push('\n');
            return;
        }
        if self.is_timed {
            let time = word(line, "time");
            *out += &if self.is_here { when::local(nanoseconds(time)) } else { time.to_owned() };
            out.push(' ');
        }
        let (mark, text) = (word(line, "mark"), word(line, "text"));
        *out += &match (mark, word(line, "stream")) {
            ("zinit", _) => self.paint.on(Color::Yellow.normal(), "[!]"),
            (_, "stderr") => self.paint.on(Color::Red.normal(), "[-]"),
            _ => "[+]".to_owned(),
        };
        *out += " ";
        *out += &self.paint.name(word(line, "service"));
        *out += ": ";
        *out += &if self.is_here { harmless(text) } else { text.to_owned() };
        // A colour that the service has begun ends with its line.
        if self.paint.is_on() && text.contains('\u{1b}') {
            *out += "\u{1b}[0m";
        }
        if mark == "cut" {
            *out += &self.paint.on(Color::Yellow.normal(), " [cut]");
        }
        out.push('\n');
    }
}

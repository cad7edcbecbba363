//! `zinit events`: what happened lately, and what happens next.

use std::process;

use clap::Args;
use serde_json::{Value, json};
use zinit_host::interrupt::Interrupt;
use zinit_host::refusal::{Kind, Refusal};

use crate::commands::{Context, Outcome};
use crate::logs::again;
use crate::render::{self, Paint, clock, items, number, word};

/// What `zinit events` is told.
#[derive(Args, Debug)]
pub(crate) struct Events {
    /// The service [default: all]
    name: Option<String>,
    /// Goes on with what happens next, over restarts of the server
    #[arg(short = 'f', long)]
    follow: bool,
    /// The last so many only
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    lines: u32,
}

impl Events {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let failed = |errno: nix::Error| Refusal::new(Kind::Internal, errno.desc());
        let interrupt = Interrupt::new().map_err(failed)?;
        let mut client = cx.connect()?;
        // Asked for first, so that nothing falls between what was and what comes.
        let cursor = json!([null, 0, self.name]);
        let mut cursor = client.call("events.wait", cursor)?["cursor"].take();
        let past = client.call("events.get", json!([self.name, 0, self.lines]))?;
        if let (Some(name), true) = (&self.name, past.as_array().is_none_or(Vec::is_empty)) {
            client.call("service.status", json!([name]))?;
        }
        if !self.follow {
            return cx.show(&past, |paint| match text(&past, paint) {
                none if none.is_empty() => "No events\n".to_owned(),
                some => some,
            });
        }
        // Whoever reads the output may have stopped, so nothing is waited for.
        interrupt.on_ctrl_c(|| process::exit(130)).map_err(failed)?;
        self.print(cx, &past);
        if let Some(last) = items(&past).last() {
            cursor = json!(number(last, "seq").max(cursor.as_i64().unwrap_or(0)));
        }
        loop {
            let news = match client.call("events.wait", json!([cursor, 60, self.name])) {
                Err(no) if [Kind::NoServer, Kind::ShuttingDown].contains(&no.kind) => {
                    client = again(cx, &interrupt)?;
                    continue;
                }
                other => other?,
            };
            if number(&news, "lost") > 0 && !cx.flags.json {
                render::print(&format!("... {} events were missed\n", number(&news, "lost")));
            }
            self.print(cx, &news["entries"]);
            cursor = news["cursor"].clone();
        }
    }

    /// Prints entries as they come: for programs, a line of JSON each.
    fn print(&self, cx: &Context, entries: &Value) {
        if cx.flags.json {
            items(entries).for_each(|it| render::print(&format!("{it}\n")));
        } else {
            render::print(&text(entries, cx.paint));
        }
    }
}

/// A line each: when, which service, from where to where, and why.
pub(crate) fn text(entries: &Value, paint: Paint) -> String {
    items(entries).map(|it| format!("{}\n", line(it, paint))).collect()
}

fn line(it: &Value, paint: Paint) -> String {
    let (from, to, why) = (word(it, "from"), word(it, "to"), word(it, "why"));
    let moved = match (from, to) {
        (_, "") => "deleted".to_owned(),
        (from, to) if from == to => paint.state(to),
        ("", to) => format!("new -> {}", paint.state(to)),
        (from, to) => format!("{from} -> {}", paint.state(to)),
    };
    let pid = match number(it, "pid") {
        0 => String::new(),
        pid => format!(" (pid {pid})"),
    };
    let name = paint.bold(word(it, "service"));
    format!("{} {name} {moved}: {why}{pid}", clock(number(it, "at_ms")))
}

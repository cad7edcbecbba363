//! `zinit stats`: what services use, once or again and again.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use zinit_host::interrupt::{Interrupt, Woken};
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::rpc::client::Client;

use crate::commands::{Context, Outcome};
use crate::render;
use crate::watch::seconds;

/// What `zinit stats` is told.
#[derive(Args, Debug)]
pub(crate) struct Stats {
    /// Services [default: all that run, as a table]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Shows the table again and again, every 2 seconds or so many
    #[arg(long, value_name = "SECS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    watch: Option<Duration>,
}

impl Stats {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        match self.watch {
            Some(every) => self.again_and_again(cx, every),
            None if self.names.is_empty() => {
                let all = self.asked(&mut cx.connect()?)?;
                cx.show(&all, |paint| render::usage(&all, paint))
            }
            None => cx.each(&self.names, |client, name| {
                let stats = client.call("service.stats", json!([name]))?;
                cx.show(&stats, |paint| render::stats(name, &stats, paint))
            }),
        }
    }

    /// Draws until Ctrl-C: in one place on a terminal, else one table after the other.
    fn again_and_again(&self, cx: &Context, every: Duration) -> Outcome {
        let failed = |errno: nix::Error| Refusal::new(Kind::Internal, errno.desc());
        let interrupt = Interrupt::new().map_err(failed)?;
        let mut client = cx.connect()?.interrupted_by(&interrupt);
        interrupt.on_ctrl_c(|| ()).map_err(failed)?;
        // The first answer about the CPU is of a whole life; what counts here is now.
        self.asked(&mut client)?;
        let mut pause = every.min(Duration::from_millis(300));
        while interrupt.sleep(pause).map_err(failed)? == Woken::Elapsed {
            let all = self.asked(&mut client)?;
            if cx.flags.json {
                render::print(&format!("{all}\n"));
            } else {
                render::print(&in_place(&render::usage(&all, cx.paint)));
            }
            pause = every.max(Duration::from_millis(200));
        }
        Ok(130)
    }

    /// What those use that were named, or all; the busiest first.
    fn asked(&self, client: &mut Client) -> Result<Value, Refusal> {
        for name in &self.names {
            client.call("service.status", json!([name]))?;
        }
        let mut all = client.call("service.stats", json!([]))?;
        let Some(each) = all.as_array_mut() else { return Ok(all) };
        let is_named = |it: &Value| self.names.iter().any(|name| it["name"] == name.as_str());
        each.retain(|it| self.names.is_empty() || is_named(it));
        let cpu = |it: &Value| it["cpu_usage"].as_f64().unwrap_or(0.0);
        each.sort_by(|one, other| cpu(other).total_cmp(&cpu(one)));
        Ok(all)
    }
}

/// On a terminal each table takes the place of the one before it, as much of it as there is room for.
pub(crate) fn in_place(table: &str) -> String {
    if !stdout().is_terminal() {
        return format!("{table}\n");
    }
    let rows = terminal_size::terminal_size().map_or(24, |(_, rows)| usize::from(rows.0));
    let lines = table.lines().take(rows.saturating_sub(1)).map(|it| format!("{it}\x1b[K\n"));
    format!("\x1b[H{}\x1b[J", lines.collect::<String>())
}

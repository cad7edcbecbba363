//! `zinit simulate`: the user's own services under the user's own policy, with faults, in virtual
//! time and without a server.

mod chart;

use std::io::stdout;
use std::path::PathBuf;

use clap::Args;
use zinit_host::forecast::{Fault, Plan, Report, time_of};
use zinit_host::interrupt::Interrupt;
use zinit_host::refusal::{Kind, Refusal};

use crate::commands::{Context, Outcome};
use crate::progress::{Progress, Since};

pub(crate) const EXAMPLES: &str = "\
Examples:
  zinit simulate                                     each service crashes once a day
  zinit simulate --crash 'web-*=1/h' --hours 168     a week of hourly crashes of some
  zinit simulate --outage db=10m@2h                  from 02:00 on, db cannot run for 10 minutes
  zinit simulate --policy new.rhai --seed 7 --json   the same mishaps under another policy";

/// What `zinit simulate` is told.
#[derive(Args, Debug)]
pub(crate) struct Simulate {
    /// The directory of the services [default: cfg/zinit in ZINIT_HOME or ~/hero]
    #[arg(long, value_name = "DIR")]
    services: Option<PathBuf>,
    /// A policy in place of theirs: a file, or a directory with policy.rhai and policy/*.rhai
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// How many hours
    #[arg(long = "hours", value_name = "N", default_value = "24", value_parser = hours)]
    span_ms: i64,
    /// What chance is drawn from: the same seed gives the same answer
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Crashes by chance, such as web=1/h, 'web-*=3/d' or db=0.5/m; of several, the last one counts
    #[arg(long, value_name = "NAME=RATE", value_parser = Fault::crash)]
    crash: Vec<Fault>,
    /// A time in which a service cannot run, such as db=10m@2h
    #[arg(long, value_name = "NAME=FOR@AT", value_parser = Fault::outage)]
    outage: Vec<Fault>,
    /// A time at which a process hangs, such as web@3h
    #[arg(long, value_name = "NAME@AT", value_parser = Fault::hang)]
    hang: Vec<Fault>,
    /// How long a service takes to be up whenever it is started, such as db=5s
    #[arg(long, value_name = "NAME=FOR", value_parser = Fault::slow_start)]
    slow_start: Vec<Fault>,
}

/// Into how many parts timelines are divided for programs.
const PARTS: usize = 96;

/// The most hours: a year.
const HOURS_MAX: f64 = 8_784.0;

#[expect(clippy::cast_possible_truncation, reason = "a year has fewer milliseconds than 53 bits")]
fn hours(text: &str) -> Result<i64, String> {
    let hours = text.parse().ok().filter(|it: &f64| *it * 3.6e6 >= 1.0 && *it <= HOURS_MAX);
    hours
        .map(|it| (it * 3.6e6) as i64)
        .ok_or_else(|| format!("it must be a number of hours above 0, and at most {HOURS_MAX}"))
}

impl Simulate {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let plan = self.plan(cx)?;
        let report = watched(&plan, !cx.flags.json)?;
        let answer = serde_json::to_value(&report).expect("a report has text keys only");
        cx.show(&answer, |paint| chart::text(&report, width(), paint))
    }

    fn plan(&self, cx: &Context) -> Result<Plan, Refusal> {
        let dir = self.services.as_ref().or(cx.flags.config_dir.as_ref());
        let dir = dir.unwrap_or(&cx.home.config_dir);
        if !dir.is_dir() {
            let message = format!("there is no directory {}", dir.display());
            return Err(Refusal::new(Kind::Storage, message));
        }
        let plan = Plan::read(dir, self.policy.as_deref())?;
        if plan.services.is_empty() {
            let message = format!("there is no service in {} to simulate", dir.display());
            return Err(
                Refusal::new(Kind::Storage, message).hint("`--services` names another directory")
            );
        }
        let names = plan.services.iter().map(|(name, _)| name.as_str());
        let parts = if cx.flags.json { PARTS } else { chart::parts(names, width()) };
        let faults = [&self.crash, &self.outage, &self.hang, &self.slow_start];
        let faults = faults.into_iter().flatten().cloned().collect();
        Ok(Plan { faults, span_ms: self.span_ms, seed: self.seed, parts, ..plan })
    }
}

fn width() -> usize {
    terminal_size::terminal_size_of(stdout()).map_or(80, |(width, _)| usize::from(width.0))
}

/// Simulates, shows how far it is, and ends with Ctrl-C.
fn watched(plan: &Plan, wanted: bool) -> Result<Report, Refusal> {
    let failed = |errno: nix::Error| Refusal::new(Kind::Internal, errno.desc());
    let interrupt = Interrupt::new().map_err(failed)?;
    interrupt.on_ctrl_c(|| ()).map_err(failed)?;
    let mut progress = Progress::new("simulating", wanted);
    let mut drawn = Since::now();
    plan.forecast(&mut |now| {
        if progress.is_on() && drawn.elapsed() >= Progress::TICK {
            drawn = Since::now();
            let of = time_of(plan.span_ms);
            progress.say(&format!("{} of {of} ({} %)", time_of(now), now * 100 / plan.span_ms));
        }
        !interrupt.is_raised()
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::commands::{Command, Line};

    fn refused(args: &[&str]) -> String {
        let all = ["zinit", "simulate"].iter().chain(args);
        Line::try_parse_from(all).expect_err("it is refused").to_string()
    }

    #[test]
    fn what_is_asked_for_is_understood() {
        let line = "zinit simulate --hours 0.5 --crash web-*=1/h --crash db=0/d --outage db=10m@2h";
        let line = Line::try_parse_from(line.split(' ')).expect("it is a command");
        let Some(Command::Simulate(it)) = line.command else { panic!("it is another command") };
        assert_eq!((it.span_ms, it.seed), (1_800_000, 1));
        assert_eq!((it.crash.len(), it.outage.len(), it.outage[0].whom.as_str()), (2, 1, "db"));
    }

    #[test]
    fn what_is_no_fault_is_refused_with_the_shape_that_is_wanted() {
        assert!(refused(&["--crash", "web=often"]).contains("such as `1/h`, `3/d` or `0.5/m`"));
        assert!(refused(&["--outage", "web=10m"]).contains("such as `db=10m@2h`"));
        assert!(refused(&["--hours", "0"]).contains("a number of hours above 0"));
    }
}

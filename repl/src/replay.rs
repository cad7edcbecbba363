//! `zinit replay`: asks again what the journal has recorded, and says what would be decided differently.

mod stepper;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};
use zinit_host::engine::on_deep_stack;
use zinit_host::journal;
use zinit_host::name::ServiceName;
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::replay::{self, Redone, Span, in_words};
use zinit_host::store::Store;
use zinit_host::trial;

use crate::commands::{Context, Outcome};
use crate::render::{self, Paint};
use crate::when::{self, When};

pub(crate) const EXAMPLES: &str = "\
Nothing is done and no server is asked: each recorded decision is made again from what it was made of.
Exit code 0 when all are the same, 1 when some differ.

Examples:
  zinit replay                              under the policy that was in force: nothing differs
  zinit replay --policy new.rhai            what another policy would have decided
  zinit replay --from 2h --service web      the decisions about one service in the last two hours
  zinit replay --step                       one after the other, with the facts at hand";

/// What `zinit replay` is told.
#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// A journal, or one file of it [default: var/zinit/journal in ZINIT_HOME or ~/hero]
    #[arg(value_name = "JOURNAL")]
    journal: Option<PathBuf>,
    /// Under this policy: a file, or a directory with policy.rhai or others in it
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// Nothing older: `10m` (ago), `12:00`, `2026-11-23 12:00`, `yesterday`, or as in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    from: Option<When>,
    /// Nothing newer
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    to: Option<When>,
    /// Only what is about this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Goes through the decisions one by one
    #[arg(long, conflicts_with = "json")]
    step: bool,
}

/// What has come of it.
#[derive(Debug, Default)]
struct Summary {
    decisions: u64,
    differ: u64,
    per_second: u64,
    /// Records and lines that are missing.
    missing: u64,
    unread: u64,
    remarks: Vec<String>,
}

const NANOS_PER_MS: i64 = 1_000_000;

impl Replay {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let cannot =
            |_| Refusal::new(Kind::Internal, "cannot replay: the interpreter has panicked");
        let (is_json, paint) = (cx.flags.json, cx.paint);
        let dir = journal::dir_of(&cx.home.state_dir);
        let journal = self.journal.as_ref().unwrap_or(&dir);
        if !journal.exists() {
            let message = format!("there is no journal {}", journal.display());
            return Err(Refusal::new(Kind::Storage, message)
                .hint("a server writes it; name a directory or a file of one"));
        }
        let work = || {
            let policy = self.policy.as_deref().map(files_of).transpose()?;
            if let Some(files) = &policy {
                trial::vet(files).map_err(|mut all| all.remove(0))?;
            }
            if self.step {
                return self.step_through(journal, policy.as_deref(), paint);
            }
            self.tell(journal, policy.as_deref(), paint, is_json)
        };
        on_deep_stack(work).map_err(cannot)?
    }

    fn span(&self) -> Result<Span, Refusal> {
        let ms = |it: Option<When>| it.map(|it| it.0 / NANOS_PER_MS);
        let service = self.service.as_deref().map(ServiceName::parse).transpose();
        let wrong = |it: zinit_host::name::BadName| Refusal::new(Kind::BadArgument, it.to_string());
        Ok(Span { from_ms: ms(self.from), to_ms: ms(self.to), service: service.map_err(wrong)? })
    }

    fn begin(&self, policy: Option<&[(PathBuf, String)]>) -> Result<replay::Replay, Refusal> {
        replay::Replay::new(policy, self.span()?).map_err(|mut all| all.remove(0))
    }

    /// Tells each difference as it is found, then how many there are.
    fn tell(
        &self,
        journal: &Path,
        policy: Option<&[(PathBuf, String)]>,
        paint: Paint,
        is_json: bool,
    ) -> Outcome {
        let mut replay = self.begin(policy)?;
        let mut summary = Summary::default();
        let mut differences = Vec::new();
        let begun = begin_clock();
        replay.over(journal, |it| {
            summary.decisions += 1;
            summary.differ += u64::from(it.differs());
            match it.differs() {
                true if is_json => differences.push(as_json(&it)),
                true => render::print(&difference(&it, paint)),
                false => {}
            }
        })?;
        summary.finish(&mut replay, begun);
        if summary.decisions == 0 {
            summary.remarks.iter().for_each(|it| render::print(&format!("{it}\n")));
            return Err(self.nothing(journal));
        }
        if is_json {
            render::print(&format!("{:#}\n", summary.as_json(differences)));
        } else {
            render::print(&summary.text());
        }
        Ok(u8::from(summary.differ > 0))
    }

    fn step_through(
        &self,
        journal: &Path,
        policy: Option<&[(PathBuf, String)]>,
        paint: Paint,
    ) -> Outcome {
        let mut replay = self.begin(policy)?;
        let mut summary = Summary::default();
        let mut all = Vec::new();
        let begun = begin_clock();
        replay.over(journal, |it| all.push(it))?;
        summary.decisions = all.len() as u64;
        summary.differ = all.iter().filter(|it| it.differs()).count() as u64;
        summary.finish(&mut replay, begun);
        if summary.decisions == 0 {
            return Err(self.nothing(journal));
        }
        render::print(&summary.text());
        let differ = summary.differ;
        stepper::run(&all, paint)?;
        Ok(u8::from(differ > 0))
    }
}

impl Replay {
    /// Nothing was asked, so nothing is shown to be the same.
    fn nothing(&self, journal: &Path) -> Refusal {
        let about = self.service.as_ref().map(|it| format!(" about `{it}`")).unwrap_or_default();
        let when = if self.from.is_some() || self.to.is_some() { " of that time" } else { "" };
        let message = format!("there is no decision{about}{when} in {}", journal.display());
        Refusal::new(Kind::Storage, message)
    }
}

#[expect(clippy::disallowed_methods, reason = "how fast a replay is, is measured")]
fn begin_clock() -> Instant {
    Instant::now()
}

impl Summary {
    fn finish(&mut self, replay: &mut replay::Replay, begun: Instant) {
        let seconds = begun.elapsed().as_secs_f64().max(1e-9);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "it is a rounded figure"
        )]
        let per_second = (self.decisions as f64 / seconds) as u64;
        self.per_second = per_second;
        (self.missing, self.unread) = (replay.missing, replay.unread());
        self.remarks = replay.take_remarks();
    }

    fn text(&self) -> String {
        let mut text = String::new();
        self.remarks.iter().for_each(|it| {
            let _ = writeln!(text, "{it}");
        });
        if self.missing > 0 {
            let _ = writeln!(text, "{} records are missing in the journal", self.missing);
        }
        if self.unread > 0 {
            let lines = if self.unread == 1 { "1 line" } else { &format!("{} lines", self.unread) };
            let _ = writeln!(text, "{lines} could not be read, or tell of what is not here");
        }
        let differ = match self.differ {
            0 => "none differs".to_owned(),
            1 => "1 differs".to_owned(),
            more => format!("{more} differ"),
        };
        let decisions = match self.decisions {
            1 => "1 decision".to_owned(),
            more => format!("{more} decisions"),
        };
        let _ = writeln!(text, "{decisions}, {differ} ({} per second)", self.per_second);
        text
    }

    fn as_json(&self, differences: Vec<Value>) -> Value {
        json!({
            "decisions": self.decisions,
            "differ": self.differ,
            "per_second": self.per_second,
            "missing": self.missing,
            "unread": self.unread,
            "remarks": self.remarks,
            "differences": differences,
        })
    }
}

/// When, about what, what was decided and what would be.
fn difference(it: &Redone, paint: Paint) -> String {
    let mut text = format!("{}\n", head(it, paint));
    if it.was() != it.answer {
        let _ = writeln!(text, "  was:      {}", in_words(&it.was(), it.decision.now).join("; "));
        let _ = writeln!(text, "  would be: {}", in_words(&it.answer, it.decision.now).join("; "));
    }
    for derived in &it.derived {
        let (hook, was, would_be) = (derived.hook, derived.was, derived.would_be);
        let _ = writeln!(text, "  then `{hook}` was {was} and would be {would_be}");
    }
    it.faults.iter().for_each(|fault| {
        let _ = writeln!(text, "  fault:    {fault}");
    });
    text
}

fn head(it: &Redone, paint: Paint) -> String {
    let when = when::local(it.at.saturating_mul(NANOS_PER_MS));
    match it.service() {
        Some(name) => format!("{when} {} {}", paint.bold(name.as_str()), it.asked()),
        None => format!("{when} {}", it.asked()),
    }
}

fn as_json(it: &Redone) -> Value {
    json!({
        "at_ms": it.at,
        "service": it.service(),
        "asked": it.asked(),
        "was": in_words(&it.was(), it.decision.now),
        "would_be": in_words(&it.answer, it.decision.now),
        "derived": it.derived,
        "faults": it.faults,
    })
}

/// The files of a policy: this one, those of a configuration directory, or all of a directory.
fn files_of(path: &Path) -> Result<Vec<(PathBuf, String)>, Refusal> {
    let cannot = |path: &Path, why: &dyn std::fmt::Display| {
        Refusal::new(Kind::Storage, format!("cannot read {}: {why}", path.display()))
    };
    if path.is_file() {
        let text = fs::read_to_string(path).map_err(|it| cannot(path, &it))?;
        return Ok(vec![(path.to_owned(), text)]);
    }
    let listed = fs::read_dir(path).map_err(|it| cannot(path, &it))?;
    let (files, mut problems) = Store::new(path).policy_files();
    if !problems.is_empty() {
        return Err(problems.remove(0));
    }
    if !files.is_empty() {
        return Ok(files);
    }
    let mut paths: Vec<PathBuf> = listed.flatten().map(|it| it.path()).collect();
    paths.retain(|it| it.extension().is_some_and(|it| it == "rhai"));
    paths.sort();
    if paths.is_empty() {
        return Err(cannot(path, &"there is no .rhai file in it"));
    }
    let read = |it: PathBuf| {
        let text = fs::read_to_string(&it).map_err(|error| cannot(&it, &error))?;
        Ok((it, text))
    };
    paths.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_is_missing() {
        let mut summary = Summary { decisions: 12, per_second: 9, ..Summary::default() };
        assert_eq!(summary.text(), "12 decisions, none differs (9 per second)\n");
        (summary.differ, summary.missing, summary.unread) = (1, 3, 2);
        summary.remarks = vec!["so".to_owned()];
        let expected = "so\n3 records are missing in the journal\n2 lines could not be read, or tell of what is not here\n\
            12 decisions, 1 differs (9 per second)\n";
        assert_eq!(summary.text(), expected);
    }
}

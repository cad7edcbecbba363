//! Which lines of which services a call about logs means.

use std::sync::Arc;

use regex::bytes::Regex;

use super::args::Args;
use super::office::Office;
use super::picks::Picks;
use crate::logs::read::{Query, Where};
use crate::logs::trails::Source;
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::spec::line_regex;

/// What somebody looks for in the logs. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// Nothing for all services.
    picks: Option<Arc<Picks>>,
    query: Arc<Query>,
    /// Nothing later, in nanoseconds since 1970.
    until_ns: i64,
}

impl Search {
    /// Reads the parameters `names`, at this place, and `grep`, `stream` and `where`, from that place on.
    ///
    /// # Errors
    /// `bad_argument` that names the parameter, or that there is no such service.
    pub(super) fn of(
        office: &Office,
        args: &Args,
        names_at: usize,
        grep_at: usize,
    ) -> Result<Self, Refusal> {
        let picks = args.picks_if_any(names_at)?;
        if let Some(picks) = &picks {
            resolve(picks, office)?;
        }
        let query = Query {
            grep: args.text_if_any(grep_at).map(regex).transpose()?,
            stderr: args.text_if_any(grep_at + 1).map(is_stderr).transpose()?,
            wheres: args.texts(grep_at + 2).into_iter().map(equation).collect::<Result<_, _>>()?,
            ..Query::default()
        };
        let picks = picks.map(Arc::new);
        Ok(Self { picks, query: Arc::new(query), until_ns: i64::MAX })
    }

    /// The same, but nothing later.
    pub(super) fn until(self, until_ns: i64) -> Self {
        Self { until_ns, ..self }
    }

    /// Up to where everything is in its file and may be read; the end of time if nobody has said
    /// yet how far that is.
    pub(super) fn bound_ns(&self, office: &Office) -> i64 {
        match office.logs.trails().newest_ns() {
            0 => self.until_ns,
            newest_ns => self.until_ns.min(newest_ns),
        }
    }

    /// Where the lines are. Services that have come since are among them, those that have gone not.
    pub(super) fn sources(&self, office: &Office) -> Vec<Source> {
        let trails = office.logs.trails();
        match &self.picks {
            None => trails.sources(&[]),
            Some(picks) => match resolve(picks, office) {
                // No names would mean all.
                Ok(names) if !names.is_empty() => trails.sources(&names),
                _ => Vec::new(),
            },
        }
    }

    /// Where the lines are, and until when they are looked at: of several services, only until when all
    /// that were written are in their files.
    pub(super) fn aim(&self, office: &Office) -> (Vec<Source>, i64) {
        // First the bound: what is known then is known of each of them.
        let bound_ns = self.bound_ns(office);
        let sources = self.sources(office);
        let is_alone = sources.len() == 1;
        (sources, if is_alone { self.until_ns } else { bound_ns })
    }

    /// What is asked of the files between these moments, the first exclusive.
    pub(super) fn query(&self, after_ns: i64, until_ns: i64) -> Query {
        Query { after_ns, until_ns, ..Query::clone(&self.query) }
    }
}

/// The services that are meant. One that is no longer known but has left lines is found as well.
fn resolve(picks: &Picks, office: &Office) -> Result<Vec<ServiceName>, Refusal> {
    picks.resolve(office).or_else(|_| {
        let logged = office.logs.trails().sources(&[]).into_iter().map(|it| it.service);
        picks.resolve_with(office, &logged.collect::<Vec<_>>())
    })
}

/// Lines need not be text, but what is told of a fault is told of text.
fn regex(pattern: &str) -> Result<Regex, Refusal> {
    line_regex(pattern)
        .and_then(|_| Regex::new(pattern).map_err(|error| error.to_string()))
        .map_err(|why| bad("grep", format!("`{pattern}` is no regular expression: {why}")))
}

fn is_stderr(word: &str) -> Result<bool, Refusal> {
    match word {
        "stdout" => Ok(false),
        "stderr" => Ok(true),
        _ => Err(bad("stream", format!("`stream` must be `stdout` or `stderr`, not `{word}`"))),
    }
}

fn equation(text: &str) -> Result<Where, Refusal> {
    Where::parse(text).map_err(|why| bad("where", why).hint("for example `level=error`"))
}

/// A refusal that names the parameter.
pub(super) fn bad(param: &str, why: String) -> Refusal {
    Refusal::new(Kind::BadArgument, format!("cannot search the logs: {why}")).with("param", param)
}

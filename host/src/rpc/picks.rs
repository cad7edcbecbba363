//! Which services a call is about: names, globs and groups, looked up on the board.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::office::Office;
use crate::board::Status;
use crate::glob::Glob;
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal, nearest};

/// What somebody wrote to say which services are meant.
#[derive(Debug)]
pub(super) struct Picks(Vec<Pick>);

#[derive(Debug)]
enum Pick {
    Name(ServiceName),
    Glob(String, Glob),
    Group(String),
}

impl Picks {
    /// Parses one pick, or a list of them.
    ///
    /// # Errors
    /// `bad_argument`, when one is neither a name nor a glob nor a group.
    pub(super) fn parse(value: &Value) -> Result<Self, Refusal> {
        let each = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let texts = each.iter().filter_map(Value::as_str);
        texts.map(Pick::parse).collect::<Result<_, _>>().map(Self)
    }

    /// The services that are meant, each once, in the order in which they were named.
    ///
    /// # Errors
    /// When a name is unknown, or a glob or a group has no service.
    pub(super) fn resolve(&self, office: &Office) -> Result<Vec<ServiceName>, Refusal> {
        self.resolve_with(office, &[])
    }

    /// As [`resolve`](Self::resolve), among these names as well.
    pub(super) fn resolve_with(
        &self,
        office: &Office,
        more: &[ServiceName],
    ) -> Result<Vec<ServiceName>, Refusal> {
        if let [Pick::Name(name)] = self.0.as_slice()
            && !more.contains(name)
        {
            return Ok(vec![office.known(name.as_str())?.name.clone()]);
        }
        let all = office.board.all();
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for pick in &self.0 {
            let mut names = pick.among(&all);
            names.extend(more.iter().filter(|it| pick.means(it)).cloned());
            if names.is_empty() {
                return Err(pick.missed(office, &all));
            }
            names.retain(|it| seen.insert(it.clone()));
            found.append(&mut names);
        }
        Ok(found)
    }

    /// Whether this name is written out.
    pub(super) fn spell(&self, name: &ServiceName) -> bool {
        self.0.iter().any(|it| matches!(it, Pick::Name(it) if it == name))
    }
}

impl Pick {
    fn parse(text: &str) -> Result<Self, Refusal> {
        if let Some(group) = text.strip_prefix('@') {
            return Ok(Self::Group(group.to_owned()));
        }
        if !text.contains(['*', '?', '[']) {
            return Ok(Self::Name(ServiceName::parse(text)?));
        }
        match Glob::parse(text) {
            Some(glob) => Ok(Self::Glob(text.to_owned(), glob)),
            None => {
                let message = format!("`{text}` is no pattern: its `[` has no end");
                Err(Refusal::new(Kind::BadArgument, message).with("param", "name"))
            }
        }
    }

    /// Whether it means the service of this name, as far as a name can tell.
    fn means(&self, name: &ServiceName) -> bool {
        match self {
            Self::Name(it) => it == name,
            Self::Glob(_, glob) => glob.fits(name.as_str()),
            Self::Group(_) => false,
        }
    }

    fn among(&self, all: &[Arc<Status>]) -> Vec<ServiceName> {
        let is_in = |it: &&Arc<Status>| match self {
            Self::Group(group) => it.groups.contains(group),
            _ => self.means(&it.name),
        };
        all.iter().filter(is_in).map(|it| it.name.clone()).collect()
    }

    fn missed(&self, office: &Office, all: &[Arc<Status>]) -> Refusal {
        match self {
            Self::Name(name) => office.unknown(name.as_str()),
            Self::Glob(text, _) => {
                Refusal::new(Kind::UnknownService, format!("no service matches `{text}`"))
                    .hint("`zinit list` shows the services there are")
                    .with("service", text.as_str())
            }
            Self::Group(group) => unknown_group(group, all),
        }
    }
}

fn unknown_group(group: &str, all: &[Arc<Status>]) -> Refusal {
    let known: BTreeSet<&str> = all.iter().flat_map(|it| &it.groups).map(String::as_str).collect();
    let refusal = Refusal::new(Kind::UnknownService, format!("there is no group `{group}`"))
        .with("group", group);
    match nearest(group, known.into_iter()) {
        Some(near) => refusal.hint(format!("did you mean `@{near}`?")),
        None => refusal.hint("`zinit status NAME` shows the groups of a service"),
    }
}

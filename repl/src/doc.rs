//! `zinit doc`: writes the reference of all words that scripts can say, from the engine's own metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::rc::Rc;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use zinit_host::engine::{self, Words};
use zinit_host::interrupt::Interrupt;
use zinit_host::native::Session;
use zinit_host::refusal::{Kind, Refusal, nearest};
use zinit_host::words::{Word, vocabulary};

use crate::commands::{Context, Outcome};
use crate::shell::look::Look;
use crate::show;

/// What `zinit doc` is told.
#[derive(Args, Debug)]
pub(crate) struct Doc {
    /// The function: `zinit_start`, `Service.env` or `host::tcp`
    name: Option<String>,
    /// How it is written [default: for a terminal, or as md]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Markdown
    Md,
    /// For programs
    Json,
    /// Definitions for the Rhai language server
    RhaiD,
}

impl Doc {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let all = with_session(cx, |it| vocabulary(&engine::script(it, Words::All)))?;
        let wanted = match &self.name {
            Some(name) => named(name, all)?,
            None => all,
        };
        let look = Look::now();
        let format = if cx.flags.json { Some(Format::Json) } else { self.format };
        let text = match format {
            None if look.is_terminal => show::doc(&wanted.iter().collect::<Vec<_>>(), look),
            None | Some(Format::Md) => markdown(&wanted, self.name.is_none()),
            Some(Format::Json) => format!("{:#}\n", Value::from_iter(wanted.iter().map(facts))),
            Some(Format::RhaiD) => definitions(&wanted),
        };
        show::paged(&text, look);
        Ok(0)
    }
}

/// Does something with a session of scripts, on a stack that is deep enough.
pub(crate) fn with_session<T: Send>(
    cx: &Context,
    work: impl FnOnce(&Rc<Session>) -> T + Send,
) -> Result<T, Refusal> {
    let broken = |what: &str| Refusal::new(Kind::Internal, what);
    let interrupt = Interrupt::new().map_err(|errno| broken(errno.desc()))?;
    let socket = &cx.home.socket;
    engine::on_deep_stack(|| work(&Session::new(socket, &interrupt)))
        .map_err(|_| broken("the script engine broke down"))
}

/// The words of this name.
fn named(name: &str, mut all: Vec<Word>) -> Result<Vec<Word>, Refusal> {
    if !all.iter().any(|it| is_meant(it, name)) {
        return Err(unknown(name, all.iter()));
    }
    all.retain(|it| is_meant(it, name));
    Ok(all)
}

/// Whether a function is meant by `name`, `name()`, `.name`, `Type.name` or `module::name`.
pub(crate) fn is_meant(it: &Word, name: &str) -> bool {
    let name = name.trim_end_matches("()");
    if let Some((module, name)) = name.rsplit_once("::") {
        let ends_so = || it.module.ends_with(&format!("/{module}"));
        return it.name == name && (it.module == module || ends_so());
    }
    match name.rsplit_once('.') {
        Some(("", name)) => it.of.is_some() && it.name == name,
        Some((of, name)) => it.of.as_deref() == Some(of) && it.name == name,
        None => it.name == name,
    }
}

/// What is said of a function that is not there.
pub(crate) fn unknown<'a>(name: &str, all: impl Iterator<Item = &'a Word>) -> Refusal {
    let refusal = Refusal::new(Kind::BadArgument, format!("there is no function `{name}`"));
    let bare = name.trim_end_matches("()").rsplit(['.', ':']).next().unwrap_or(name);
    let (mut near, mut has_it) = (BTreeSet::new(), BTreeSet::new());
    for it in all {
        near.insert(it.name.as_str());
        if it.name.contains(bare) && bare.len() > 2 {
            has_it.insert(format!("`{}`", it.name));
        }
    }
    match nearest(bare, near.into_iter()) {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None if (1..6).contains(&has_it.len()) => {
            let all: Vec<_> = has_it.into_iter().collect();
            refusal.hint(format!("there is {}", all.join(", ")))
        }
        None => refusal.hint("`/functions` at the prompt and `zinit doc` list them"),
    }
}

/// The words for readers, those of a module together.
fn markdown(all: &[Word], is_whole: bool) -> String {
    let mut text = if is_whole { "# Functions\n".to_owned() } else { String::new() };
    for (module, words) in by_module(all) {
        if is_whole {
            let _ = write!(text, "\n## {module}\n");
        }
        for word in words {
            let returns = word.returns.as_ref().filter(|it| *it != "()");
            let returns = returns.map(|it| format!(" → `{it}`")).unwrap_or_default();
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}### `{}`{returns}", word.signature());
            if !word.doc.is_empty() {
                let _ = write!(text, "\n{}\n", below(&word.doc));
            }
        }
    }
    text
}

/// Documentation below a heading: headings in it are smaller than that.
fn below(doc: &str) -> String {
    let mut is_code = false;
    let line = |it: &str| {
        is_code ^= it.trim_start().starts_with("```");
        if it.starts_with('#') && !is_code { format!("###{it}\n") } else { format!("{it}\n") }
    };
    let text: String = doc.lines().map(line).collect();
    text.trim_end().to_owned()
}

/// Zinit's own modules first, then those of Rhai.
fn by_module(all: &[Word]) -> Vec<(&str, Vec<&Word>)> {
    let mut modules: BTreeMap<(bool, &str), Vec<&Word>> = BTreeMap::new();
    for word in all {
        let module = word.module.as_str();
        modules.entry((module.starts_with("rhai"), module)).or_default().push(word);
    }
    modules.into_iter().map(|((_, module), words)| (module, words)).collect()
}

fn facts(word: &Word) -> Value {
    let mut examples = word.examples("rhai");
    examples.extend(word.examples("rhai,server"));
    json!({
        "name": word.name,
        "of": word.of,
        "params": word.params,
        "returns": word.returns,
        "module": word.module,
        "doc": word.doc,
        "signature": word.signature(),
        "examples": examples,
    })
}

/// The words as definitions. Rhai's own generator leaves out what functions of scripts are methods of, and
/// writes types that its language server cannot read.
fn definitions(all: &[Word]) -> String {
    let mut text = "module static;\n".to_owned();
    // To the language server `exit` is a keyword.
    let all = all.iter().filter(|it| it.name != "exit");
    let (host, global): (Vec<&Word>, Vec<&Word>) = all.partition(|it| it.module == "host");
    global.iter().for_each(|it| text += &definition(it));
    if !host.is_empty() {
        text += "\nmodule host {\n";
        host.iter().for_each(|it| text += &definition(it));
        text += "}\n";
    }
    text
}

fn definition(word: &Word) -> String {
    let mut text = "\n".to_owned();
    for line in word.doc.lines() {
        text += format!("/// {line}").trim_end();
        text.push('\n');
    }
    let subject = word.of.iter().map(|it| format!("this_{}: {it}", it.to_lowercase()));
    let params = word.params.iter().map(|it| match it.split_once(':') {
        Some((name, types)) => format!("{}: {}", name.trim(), types.trim()),
        None => format!("{it}: ?"),
    });
    let params: Vec<String> = subject.chain(params).collect();
    let returns = word.returns.as_deref().unwrap_or("?");
    let _ = writeln!(text, "fn {}({}) -> {returns};", word.name, params.join(", "));
    text
}

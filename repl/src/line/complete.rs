//! What may be meant by what is being said: a function of the lexicon, a line and a place in it.

mod quote;

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use reedline::{Completer, CompletionResult, Span, Suggestion};
use zinit_host::hooks::{self, HOOKS};
use zinit_host::policy::pieces::is_keyword;
use zinit_host::refusal::nearest;
use zinit_host::words::Word;

use super::files;
use super::place::{Call, LONG, Place, Tokens};
use super::types::{Type, canonical, receiver, type_of};
use crate::shell::lexicon::{Lexicon, Shared};
use crate::shell::slash;
use crate::shell::slash::is_name;
use crate::show::text::{has_control, visible};
use quote::Quote;

/// The keywords that begin or join what is said.
const KEYWORDS: [&str; 22] = [
    "let", "const", "if", "else", "switch", "while", "loop", "for", "in", "do", "break",
    "continue", "return", "throw", "try", "catch", "fn", "import", "export", "as", "true", "false",
];

/// Something that may be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its name, which is compared with what is typed.
    pub(crate) name: String,
    /// What replaces what is typed.
    pub(crate) insert: String,
    /// What it is.
    pub(crate) help: String,
}

impl Candidate {
    fn new(name: impl Into<String>, help: impl Into<String>) -> Self {
        let name = name.into();
        Self { insert: name.clone(), name, help: help.into() }
    }

    fn inserting(self, insert: String) -> Self {
        Self { insert, ..self }
    }

    /// The same inside a text, which goes on with `end`; none if it cannot be written there.
    fn inside(self, quote: Quote, end: &str) -> Option<Self> {
        let name = quote.written(&self.name)?;
        Some(Self { insert: format!("{name}{end}"), name, help: self.help })
    }
}

/// What may be meant at a place, and where what is typed of it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    /// The first byte that is replaced; the last one is before the place.
    pub(crate) begin: usize,
    /// Those that fit best first.
    pub(crate) all: Vec<Candidate>,
}

/// Completes what is typed.
pub(crate) struct Words(pub(crate) Shared);

impl Completer for Words {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let meant = complete(&self.0.open(), line, pos);
        let span = Span::new(meant.begin, pos);
        let suggestion = |it: Candidate| Suggestion {
            display_override: Some(it.name),
            description: Some(visible(&it.help)).filter(|it| !it.is_empty()),
            value: it.insert,
            span,
            ..Suggestion::default()
        };
        CompletionResult::fresh(meant.all.into_iter().map(suggestion).collect::<Vec<_>>())
    }
}

/// What may be meant at `pos`, a place in `line` between two characters.
pub(crate) fn complete(lexicon: &Lexicon, line: &str, pos: usize) -> Meant {
    if line.len() > LONG {
        return Meant { begin: pos, all: Vec::new() };
    }
    let (said, rest) = line.split_at(pos);
    match command(said) {
        Some(Asked::Nothing) => Meant { begin: pos, all: Vec::new() },
        Some(Asked::Command(begin)) => fitting(commands(), said, begin),
        Some(Asked::Argument(entry, begin)) => {
            let all = arguments(lexicon, entry, &said[begin..]);
            fitting(all, said, begin)
        }
        Some(Asked::Script(begin)) => {
            let meant = script(lexicon, &said[begin..], rest);
            Meant { begin: meant.begin + begin, ..meant }
        }
        None => script(lexicon, said, rest),
    }
}

/// What of a command of the shell is being said.
enum Asked {
    Nothing,
    Command(usize),
    Argument(&'static slash::Entry, usize),
    Script(usize),
}

fn command(said: &str) -> Option<Asked> {
    let begin = said.len() - said.trim_start().len();
    if said[begin..] != *"/" && !slash::is_slash(said) {
        return None;
    }
    let Some(end) = said[begin..].find(char::is_whitespace).map(|it| begin + it) else {
        return Some(Asked::Command(begin));
    };
    let named = |it: &&slash::Entry| it.name == &said[begin + 1..end];
    let Some(entry) = slash::ENTRIES.iter().find(named) else { return Some(Asked::Nothing) };
    let rest = said.len() - said[end..].trim_start().len();
    Some(if entry.args.ends_with("TEXT") {
        Asked::Script(rest)
    } else {
        Asked::Argument(entry, rest)
    })
}

fn commands() -> Vec<Candidate> {
    let candidate = |it: &slash::Entry| {
        let space = if it.args.is_empty() { "" } else { " " };
        let name = format!("/{}", it.name);
        let insert = format!("{name}{space}");
        Candidate::new(name, it.help).inserting(insert)
    };
    slash::ENTRIES.iter().map(candidate).collect()
}

fn arguments(lexicon: &Lexicon, entry: &slash::Entry, said: &str) -> Vec<Candidate> {
    match entry.args {
        "NAME" => {
            let functions = functions(lexicon.functions(), false);
            functions.into_iter().map(|it| Candidate { insert: it.name.clone(), ..it }).collect()
        }
        "FILE" => paths(said, Quote::Bare, ""),
        "[FILTER]" if entry.name == "functions" => {
            let mut modules: Vec<&str> =
                lexicon.words.iter().map(|it| it.module.as_str()).collect();
            modules.sort_unstable();
            modules.dedup();
            modules.into_iter().map(|it| Candidate::new(it, "")).collect()
        }
        // `[emacs | vi]`
        args => {
            let words = args.split(|it: char| !it.is_alphanumeric());
            let is_literal = |it: &&str| it.starts_with(|it: char| it.is_lowercase());
            words.filter(is_literal).map(|it| Candidate::new(it, "")).collect()
        }
    }
}

fn script(lexicon: &Lexicon, said: &str, rest: &str) -> Meant {
    let tokens = Tokens::of(said);
    match Place::at_end(said, &tokens) {
        Place::Nothing => Meant { begin: said.len(), all: Vec::new() },
        Place::Word(begin) => fitting(called(words(lexicon, &tokens), rest), said, begin),
        Place::Path(module, begin) => {
            let all = lexicon.functions().filter(|it| it.module == tokens.word(module));
            fitting(called(functions(all, false), rest), said, begin)
        }
        Place::Member(value, begin) => {
            let of = type_of(&tokens, value, lexicon);
            fitting(called(members(lexicon, of), rest), said, begin)
        }
        Place::Text(text) => {
            let begin = tokens.begin(text)
                + tokens
                    .word(text)
                    .rfind('}')
                    .filter(|_| tokens.word(text).starts_with('}'))
                    .unwrap_or(0)
                + 1;
            fitting(in_text(lexicon, &tokens, text, &said[begin..], rest), said, begin)
        }
    }
}

/// What a statement or an expression may begin with: what was made here before what came along.
fn words(lexicon: &Lexicon, tokens: &Tokens<'_>) -> Vec<Candidate> {
    let named = |at: usize| {
        let is_made = matches!(tokens.before(at), "let" | "const" | "for");
        (is_made && tokens.is_name(at)).then(|| Candidate::new(tokens.word(at), "variable"))
    };
    let variables = lexicon.variables.iter().map(|it| {
        let help = canonical(&it.type_name).to_owned();
        Candidate::new(it.name.as_str(), help)
    });
    let mut all: Vec<Candidate> = (0..tokens.len()).filter_map(named).chain(variables).collect();
    all.extend(functions(lexicon.own.iter().filter(|it| it.of.is_none()), false));
    let (native, bundled): (Vec<&Word>, Vec<&Word>) = lexicon
        .words
        .iter()
        .filter(|it| it.of.is_none() && it.module != "host" && is_name(&it.name))
        .partition(|it| it.module.starts_with("rhai"));
    all.extend(functions(bundled.into_iter(), false));
    all.extend(KEYWORDS.map(|it| Candidate::new(it, "keyword")));
    all.push(Candidate::new("host", "the primitives").inserting("host::".to_owned()));
    all.extend(functions(native.into_iter(), false));
    let mut seen = std::collections::HashSet::new();
    all.retain(|it| seen.insert(it.name.clone()));
    all
}

/// What follows the dot after a value: keys, then methods; of any type, if that is not known.
fn members(lexicon: &Lexicon, of: Option<Type>) -> Vec<Candidate> {
    let Some(of) = of else {
        return functions(lexicon.functions().filter(|it| receiver(it).is_some()), true);
    };
    let is_map = of.name == "map";
    let keys = of.keys.iter().filter(|it| is_map && is_name(it) && !is_keyword(it));
    let mut all: Vec<Candidate> = keys.map(|it| Candidate::new(it.as_str(), "key")).collect();
    all.extend(functions(lexicon.functions().filter(|it| receiver(it) == Some(&of.name)), true));
    all
}

/// Functions by their names, each once, with all their parameters and what is said of the first.
fn functions<'a>(all: impl Iterator<Item = &'a Word>, is_method: bool) -> Vec<Candidate> {
    let mut named: BTreeMap<&str, Vec<&Word>> = BTreeMap::new();
    for word in all.filter(|it| is_name(&it.name)) {
        named.entry(&word.name).or_default().push(word);
    }
    let candidate = |(name, words): (&str, Vec<&Word>)| {
        let params =
            |it: &Word| own_params(it, is_method).map(plain).collect::<Vec<_>>().join(", ");
        let mut shapes: Vec<String> = words.iter().map(|it| format!("({})", params(it))).collect();
        shapes.dedup();
        shapes.truncate(3);
        let doc = words.iter().map(|it| paragraph(it)).find(|it| !it.is_empty());
        let doc = doc.unwrap_or_default().replace('\n', " ");
        let takes = words.iter().any(|it| own_params(it, is_method).next().is_some());
        let insert = format!("{name}{}", if takes { "(" } else { "()" });
        let help = format!("{} {doc}", shapes.join(" ")).trim_end().to_owned();
        Candidate::new(name, help).inserting(insert)
    };
    named.into_iter().map(candidate).collect()
}

/// The parameters that stand between the parentheses; of a method of Rhai's own, the first one is not there.
pub(crate) fn own_params(word: &Word, is_method: bool) -> impl Iterator<Item = &str> {
    let skips = is_method && word.of.is_none();
    word.params.iter().skip(usize::from(skips)).map(String::as_str)
}

/// A parameter without its type.
pub(crate) fn plain(param: &str) -> &str {
    param.split_once(':').map_or(param, |it| it.0).trim()
}

/// As it is inserted where its parenthesis is there already.
fn called(all: Vec<Candidate>, rest: &str) -> Vec<Candidate> {
    if !rest.starts_with('(') {
        return all;
    }
    let bare = |it: Candidate| match it.insert.split_once('(') {
        Some((name, _)) => Candidate { insert: name.to_owned(), ..it },
        None => it,
    };
    all.into_iter().map(bare).collect()
}

/// What a string may say, by what takes it.
fn in_text(
    lexicon: &Lexicon,
    tokens: &Tokens<'_>,
    text: usize,
    said: &str,
    rest: &str,
) -> Vec<Candidate> {
    let kind = Quote::of(tokens.word(text));
    let quote = tokens.word(text).chars().next().filter(|it| *it != '}').unwrap_or('`');
    let quote = if rest.starts_with(quote) { String::new() } else { quote.to_string() };
    let close = |names: Vec<Candidate>, end: &str| -> Vec<Candidate> {
        names.into_iter().filter_map(|it| it.inside(kind, end)).collect()
    };
    if tokens.before(text) == "import" {
        let mut all = close(modules(lexicon), &quote);
        all.extend(scripts(said, kind, &quote));
        return all;
    }
    if let Some(value) = tokens.indexed(text) {
        let keys = type_of(tokens, value, lexicon).map(|it| it.keys).unwrap_or_default();
        let end = if rest.starts_with([']', '"']) || quote.is_empty() { "" } else { "]" };
        let keys = keys.into_iter().map(|it| Candidate::new(it, "key")).collect();
        return close(keys, &format!("{quote}{end}"));
    }
    let Some(call) = tokens.call(text) else { return paths_only(said, kind, &quote) };
    let is_method = tokens.before(call.name) == ".";
    let fits = callee(lexicon, tokens, call);
    let name = tokens.word(call.name);
    let named: Vec<&Word> = lexicon.functions().filter(|it| it.name == name && fits(it)).collect();
    let taking = |it: &&&Word| own_params(it, is_method).nth(call.index).is_some();
    let Some(word) = named.iter().find(taking) else {
        return paths_only(said, kind, &quote);
    };
    let is_last = named.iter().all(|it| own_params(it, is_method).count() <= call.index + 1);
    let ends = is_last && call.is_direct && rest.trim().is_empty();
    let end = if ends && !quote.is_empty() { ")" } else { "" };
    let param = plain(own_params(word, is_method).nth(call.index).unwrap_or_default());
    match param {
        "path" | "file" | "filename" | "dir" | "directory" => {
            paths(said, kind, &format!("{quote}{end}"))
        }
        _ => match values(lexicon, word, param) {
            none if none.is_empty() => paths_only(said, kind, &quote),
            values => close(values, &format!("{quote}{end}")),
        },
    }
}

/// Which functions a call may mean: methods of the type of what stands before it, or none of them.
pub(crate) fn callee(lexicon: &Lexicon, tokens: &Tokens<'_>, call: Call) -> impl Fn(&Word) -> bool {
    let is_method = tokens.before(call.name) == "." && call.name >= 2;
    let of = if is_method { type_of(tokens, call.name - 2, lexicon) } else { None };
    move |it| match &of {
        Some(of) => receiver(it) == Some(&of.name),
        None if is_method => receiver(it).is_some(),
        None => it.of.is_none(),
    }
}

/// What a parameter may be given, by its name and what is said of it.
fn values(lexicon: &Lexicon, word: &Word, param: &str) -> Vec<Candidate> {
    let all = |names: &[String], what: &str| -> Vec<Candidate> {
        names.iter().map(|it| Candidate::new(it.as_str(), what)).collect()
    };
    // What is made now has no name yet.
    let is_new = word.name.starts_with("new_") || word.name == "name";
    match param {
        "name" | "names" | "service" | "services" | "dependency" if !is_new => {
            let of_proxy = param == "name" && word.module.starts_with("xinit") && word.of.is_none();
            match of_proxy {
                true => all(&lexicon.proxies, "proxy"),
                false => all(&lexicon.services, "service"),
            }
        }
        "proxy" => all(&lexicon.proxies, "proxy"),
        "signal" => Signal::iterator().map(|it| Candidate::new(it.as_str(), "signal")).collect(),
        "hook" => HOOKS.iter().map(|it| Candidate::new(it.name, it.signature())).collect(),
        "strategy" => hooks::strategies().map(|it| Candidate::new(it, "strategy")).collect(),
        "mode" | "word" | "state" | "kind" => told(word),
        _ => Vec::new(),
    }
}

/// The words that the first paragraph of what is said of a function has in backticks.
fn told(word: &Word) -> Vec<Candidate> {
    // What follows is no word to choose.
    let choice = paragraph(word).split(" or a map").next().unwrap_or_default();
    let words = choice.split('`').skip(1).step_by(2);
    let is_choice = |it: &&str| it.chars().all(|it| it.is_alphanumeric() || "_-".contains(it));
    words.filter(is_choice).map(|it| Candidate::new(it, "")).collect()
}

/// The first paragraph of what is said of a function.
fn paragraph(word: &Word) -> &str {
    word.doc.split("\n\n").next().unwrap_or_default()
}

fn modules(lexicon: &Lexicon) -> Vec<Candidate> {
    let all = lexicon.words.iter().map(|it| it.module.as_str());
    let mut all: Vec<&str> = all.filter(|it| it.contains('/')).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(|it| Candidate::new(it, "module")).collect()
}

/// Scripts as `import` calls them.
fn scripts(said: &str, quote: Quote, end: &str) -> Vec<Candidate> {
    let is_script = |it: &std::path::Path| it.extension().is_some_and(|it| it == "rhai");
    let script = |path: String| match path.strip_suffix(".rhai") {
        Some(name) => Candidate::new(name, "script").inside(quote, end),
        None => Candidate::new(path, "directory").inside(quote, ""),
    };
    files::beginning(&quote.read(said), is_script).into_iter().filter_map(script).collect()
}

/// Paths, if what is said begins as one does.
fn paths_only(said: &str, quote: Quote, end: &str) -> Vec<Candidate> {
    let is_path = ["/", "./", "../", "~/"].iter().any(|it| said.starts_with(it));
    if is_path { paths(said, quote, end) } else { Vec::new() }
}

/// Files, each with what closes the string, and directories, which go on.
fn paths(said: &str, quote: Quote, end: &str) -> Vec<Candidate> {
    let path = |it: String| match it.ends_with('/') {
        true => Candidate::new(it, "directory").inside(quote, ""),
        false => Candidate::new(it, "").inside(quote, end),
    };
    files::beginning(&quote.read(said), |_| true).into_iter().filter_map(path).collect()
}

/// Those that begin as it is typed; if there are none, those that have it in them; if there are none, the
/// nearest one.
fn fitting(all: Vec<Candidate>, said: &str, begin: usize) -> Meant {
    let typed = said[begin..].to_lowercase();
    let fits = |test: &dyn Fn(&str) -> bool| -> Vec<Candidate> {
        let is_fit = |it: &&Candidate| !has_control(&it.name) && test(&it.name.to_lowercase());
        all.iter().filter(is_fit).cloned().collect()
    };
    let mut found = fits(&|it| it.starts_with(&typed));
    if found.is_empty() && typed.len() > 1 {
        found = fits(&|it| it.contains(&typed));
    }
    if found.is_empty() && typed.len() > 2 {
        let near = nearest(&typed, all.iter().map(|it| it.name.as_str()));
        found = all.iter().find(|it| Some(it.name.as_str()) == near).cloned().into_iter().collect();
    }
    Meant { begin, all: found }
}

#[cfg(test)]
mod tests;

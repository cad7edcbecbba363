//! Which functions a text has, and where: for whoever wants to read them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::pieces::{Piece, pieces};
use crate::refusal::{Kind, Refusal, nearest};

/// A function of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// What others call its file: `base` for the bundled functions, the name of the strategy or file
    /// for all others.
    pub module: String,
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub params: Vec<String>,
    /// Whether only its own file may call it.
    pub is_private: bool,
    /// Whether it comes with the program.
    pub bundled: bool,
    /// Where it stands: a file, or the name of a bundled one.
    pub path: String,
    /// The line of its head.
    pub line: usize,
    /// What is said of it, in Markdown.
    pub doc: String,
    /// Its text, with what is said of it.
    pub source: String,
}

/// Every function of a policy: the bundled ones, the strategies, and those of the user's files.
#[derive(Clone, Debug)]
pub struct Index {
    functions: Vec<Function>,
}

impl Function {
    /// Its head, as in `restart_delay(service, attempt)`.
    pub fn signature(&self) -> String {
        format!("{}({})", self.name, self.params.join(", "))
    }

    /// Its examples, each of which evaluates to `true`.
    pub fn examples(&self) -> impl Iterator<Item = &str> {
        let blocks = self.doc.split("```").skip(1).step_by(2);
        let lines = blocks.filter_map(|it| it.strip_prefix("rhai\n")).flat_map(str::lines);
        lines.filter(|it| !it.trim().is_empty())
    }

    /// Its text, without what is said of it.
    pub fn code(&self) -> String {
        let lines = self.source.lines().skip_while(|it| it.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Index {
    /// The functions of these files, over the bundled ones.
    pub fn of(files: &[(PathBuf, String)]) -> Self {
        let bundled = zinit_stdlib::POLICY.iter().flat_map(|it| functions(it.path, it.source));
        let bundled = bundled.map(|it| Function { module: "base".to_owned(), ..it });
        let strategies = &zinit_stdlib::STRATEGIES;
        let whole = strategies.iter().map(|it| whole(it.stem(), it.path, it.source));
        let strategies = strategies.iter().flat_map(|it| functions(it.path, it.source));
        let bundled =
            bundled.chain(strategies).chain(whole).map(|it| Function { bundled: true, ..it });
        let own =
            files.iter().flat_map(|(path, text)| functions(&path.display().to_string(), text));
        Self { functions: own.chain(bundled).collect() }
    }

    /// All functions: those of the user's files first.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter()
    }

    /// The function of that name that is in force: `restart_delay`, `base::restart_delay`,
    /// `file::mine`, `strategy::hook`.
    pub fn find(&self, name: &str) -> Option<&Function> {
        let (module, name) = match name.split_once("::") {
            Some((module, name)) => (Some(module), name),
            None => (None, name),
        };
        let is_meant = |it: &&Function| match module {
            Some(module) => it.module == module,
            // A strategy decides nothing unless it is named.
            None => !it.bundled || it.module == "base",
        };
        self.functions.iter().filter(is_meant).find(|it| it.name == name)
    }

    /// As [`find`](Self::find), or the bundled one whatever is in force.
    ///
    /// # Errors
    /// When there is none, with the nearest name.
    pub fn get(&self, name: &str, bundled: bool) -> Result<&Function, Refusal> {
        let of_base = || self.find(&format!("base::{name}"));
        let found = if bundled && !name.contains("::") { of_base() } else { self.find(name) };
        found.ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> Refusal {
        let message = format!("there is no function `{name}` in the policy");
        let refusal = Refusal::new(Kind::BadArgument, message).with("function", name);
        let known: Vec<String> = self.functions.iter().flat_map(Function::names).collect();
        match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => refusal.hint(format!("did you mean `{near}`?")),
            None => refusal.hint("`zinit policy list` shows the hooks there are"),
        }
    }
}

impl Function {
    /// What it can be asked for as.
    fn names(&self) -> Vec<String> {
        let full = format!("{}::{}", self.module, self.name);
        if self.bundled && self.module != "base" {
            vec![full]
        } else {
            vec![self.name.clone(), full]
        }
    }
}

/// The names of the bundled strategies.
pub fn strategies() -> impl Iterator<Item = &'static str> {
    zinit_stdlib::STRATEGIES.iter().map(|it| it.stem())
}

/// A whole strategy, as something to read.
fn whole(name: &str, path: &str, text: &str) -> Function {
    let said = text.lines().map_while(|it| it.strip_prefix("//!"));
    Function {
        module: "base".to_owned(),
        name: name.to_owned(),
        params: Vec::new(),
        is_private: false,
        bundled: true,
        path: path.to_owned(),
        line: 1,
        doc: said.map(str::trim).collect::<Vec<_>>().join("\n"),
        source: text.trim_end().to_owned(),
    }
}

/// The functions of a text, in its order.
pub fn functions(path: &str, text: &str) -> Vec<Function> {
    let module = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
    let all = pieces(text);
    let mut functions = Vec::new();
    for (at, (piece, place)) in all.iter().enumerate() {
        if *piece == Piece::Word && &text[place.clone()] == "fn" {
            let found = Head::read(text, &all, at).map(|head| head.function(path, &module, text));
            functions.extend(found);
        }
    }
    functions
}

/// Where the parts of a function are.
struct Head<'a> {
    name: &'a str,
    params: Vec<String>,
    is_private: bool,
    /// Where what is said of it begins, its head, and its end.
    begin: usize,
    head: usize,
    end: usize,
}

type Pieces = [(Piece, std::ops::Range<usize>)];

impl<'a> Head<'a> {
    /// Reads the function whose `fn` is there; nothing for what is none.
    fn read(text: &'a str, all: &Pieces, at: usize) -> Option<Self> {
        let word = |it: &(Piece, std::ops::Range<usize>)| &text[it.1.clone()];
        let open = at + all[at..].iter().position(|it| word(it) == "(")?;
        let close = open + all[open..].iter().position(|it| word(it) == ")")?;
        let name = all[at + 1..open].last().filter(|it| it.0 == Piece::Word).map(word)?;
        let params = all[open..close].iter().filter(|it| it.0 == Piece::Word).map(word);
        let mut depth = 0_usize;
        let last = all[close..].iter().find(|it| {
            depth += usize::from(word(it) == "{");
            depth = depth.saturating_sub(usize::from(word(it) == "}"));
            depth == 0 && word(it) == "}"
        });
        let before = at.checked_sub(1).map(|it| &all[it]);
        let is_private = before.is_some_and(|it| word(it) == "private");
        let first = at - usize::from(is_private);
        let docs = all[..first].iter().rev();
        let docs = docs.take_while(|it| it.0 == Piece::Doc && word(it).starts_with("///"));
        let head = all[first].1.start;
        Some(Self {
            name,
            params: params.map(str::to_owned).collect(),
            is_private,
            begin: docs.last().map_or(head, |it| it.1.start),
            head,
            end: last.map_or(text.len(), |it| it.1.end),
        })
    }

    fn function(self, path: &str, module: &str, text: &str) -> Function {
        let doc = text[self.begin..self.head].lines().map(|it| {
            let it = it.trim_start().trim_start_matches("///");
            it.strip_prefix(' ').unwrap_or(it)
        });
        Function {
            module: module.to_owned(),
            name: self.name.to_owned(),
            params: self.params,
            is_private: self.is_private,
            bundled: false,
            path: path.to_owned(),
            line: 1 + text[..self.head].bytes().filter(|it| *it == b'\n').count(),
            doc: doc.collect::<Vec<_>>().join("\n").trim().to_owned(),
            source: text[self.begin..self.end].to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::HOOKS;
    use crate::words::sentence;

    const TEXT: &str = "//! A file.\n\n/// Says one. And more:\n///\n/// ```rhai\n/// one(1) == `${\"}\"}`\n\
        /// ```\nfn one(a, b) {\n    let x = #{ y: `}` }; // }\n    x\n}\n\nprivate fn two() { 2 }\n";

    #[test]
    fn a_function_has_its_place_its_doc_and_its_text() {
        let found = functions("/etc/mine.rhai", TEXT);
        let [one, two] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((one.signature().as_str(), one.line), ("one(a, b)", 8));
        assert_eq!(sentence(&one.doc), "Says one.");
        assert_eq!(one.examples().collect::<Vec<_>>(), ["one(1) == `${\"}\"}`"]);
        assert!(one.source.starts_with("/// Says") && one.source.ends_with("x\n}"), "{one:?}");
        assert!(one.code().starts_with("fn one"));
        assert_eq!(
            (two.is_private, two.line, two.code().as_str()),
            (true, 13, "private fn two() { 2 }")
        );
        assert_eq!(two.doc, "");
    }

    #[test]
    fn every_hook_is_found_with_what_is_said_of_it() {
        let index = Index::of(&[]);
        for hook in HOOKS {
            let function = index.get(hook.name, false).expect("it is bundled");
            assert_eq!(function.signature(), hook.signature());
            let said = sentence(&function.doc);
            assert!(said.ends_with(['.', ':']), "{said}");
            assert!(function.examples().count() > 0, "{} has no example", hook.name);
        }
    }

    #[test]
    fn a_file_comes_before_what_is_bundled_and_a_typo_is_told() {
        let text = "fn restart_delay(service, attempt) { 7 }".to_owned();
        let index = Index::of(&[(PathBuf::from("/etc/policy.rhai"), text)]);
        let path = |it: &str, bundled| index.get(it, bundled).map(|it| it.path.clone());
        assert_eq!(path("restart_delay", false).as_deref(), Ok("/etc/policy.rhai"));
        assert_eq!(path("policy::restart_delay", false).as_deref(), Ok("/etc/policy.rhai"));
        for (name, bundled) in [("base::restart_delay", false), ("restart_delay", true)] {
            assert_eq!(path(name, bundled).as_deref(), Ok("zinit/policy.rhai"));
        }
        let no = index.get("restart_dealy", false).expect_err("there is none");
        assert_eq!(no.hint.as_deref(), Some("did you mean `restart_delay`?"));
    }
}

//! What is wrong with scripts, told at once and without running them: syntax, calls of functions that
//! exist nowhere or take other parameters, variables that are declared nowhere, modules and files that
//! are not there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rhai::{AST, ASTNode, Engine, Expr, Position, Stmt};

use super::Checked;
use crate::engine::{self, Words as Bundled};
use crate::lint::{
    Calls, Counts, Found, Known, Page, Words, body, called, constant, exported, hinted, is_name,
    keep, names_of, own, walk,
};
use crate::modules::beside;
use crate::native::Session;
use crate::refusal::{Refusal, nearest};
use crate::script::{lowered, read, without_shebang};

#[cfg(test)]
mod tests;

/// What a script finds without having declared it.
const ARGS: &str = "args";

/// Looks through these scripts, and through the files that they import by a text that is written there.
/// Nothing is run and no server is asked. Needs a deep stack ([`on_deep_stack`](engine::on_deep_stack)).
pub(super) fn check_scripts(session: &Rc<Session>, paths: &[PathBuf]) -> Checked {
    let engine = engine::script(session, Bundled::All);
    let words = Words::of(&engine);
    let mut all = Shelf { engine, words, unread: Vec::new(), found: BTreeMap::new() };
    paths.iter().for_each(|it| all.check(it));
    let scripts = Some(all.found.values().filter(|it| it.is_empty()).count());
    let found = all.found.into_values().flat_map(Found::into_values);
    Checked {
        scripts,
        problems: all.unread.into_iter().chain(found).collect(),
        ..Checked::default()
    }
}

/// What was seen of all scripts.
struct Shelf {
    engine: Engine,
    words: Words,
    unread: Vec<Refusal>,
    /// By file: what two scripts import is told once.
    found: BTreeMap<PathBuf, Found>,
}

/// A file.
struct File {
    path: PathBuf,
    text: String,
    tree: AST,
}

/// A script and the files that it imports.
#[derive(Default)]
struct Book {
    /// The script comes first.
    files: Vec<File>,
    /// What was found in each file that was opened.
    found: BTreeMap<PathBuf, Found>,
    /// The functions of each module, by the name that it is imported as.
    modules: BTreeMap<String, Counts>,
    /// Names that may stand for modules that are not known.
    open: BTreeSet<String>,
    /// Whether a module is imported that is not known.
    guesses: bool,
    known: Known,
    own: Counts,
    /// Whether a text is run that is not known.
    evals: bool,
    /// Whether a function is called in a way that shows it the variables of its caller.
    lends: bool,
}

impl Shelf {
    fn check(&mut self, path: &Path) {
        let mut book = Book::default();
        if let Err(problem) = book.open(&self.engine, path) {
            self.unread.push(problem);
            return;
        }
        // Files that are imported are added at the end.
        let mut at = 0;
        while at < book.files.len() {
            book.import(&self.engine, at);
            at += 1;
        }
        book.learn(&self.words);
        for at in 0..book.files.len() {
            let found = book.look_through(&self.words, at);
            book.found_in(at).extend(found);
        }
        for (path, found) in book.found {
            self.found.entry(path).or_default().extend(found);
        }
    }
}

impl Book {
    fn found_in(&mut self, at: usize) -> &mut Found {
        self.found.entry(self.files[at].path.clone()).or_default()
    }

    /// Reads a file, once. What keeps it from being compiled is kept.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn open(&mut self, engine: &Engine, path: &Path) -> Result<(), Refusal> {
        if self.found.contains_key(path) {
            return Ok(());
        }
        let text = without_shebang(&read(path)?).to_owned();
        let mut found = Found::new();
        match engine.compile(&text) {
            Ok(tree) => self.files.push(File { path: path.to_owned(), text, tree }),
            Err(error) => {
                let said = lowered(&error.err_type().to_string());
                let (page, at) = (Page { path, text: &text }, error.position());
                let refusal = page.refuse(at, &format!("syntax error: {said}"));
                keep(&mut found, Some((at, refusal)));
            }
        }
        self.found.insert(path.to_owned(), found);
        Ok(())
    }

    /// Opens what a file imports.
    fn import(&mut self, engine: &Engine, at: usize) {
        let mut imports = Vec::new();
        walk(&self.files[at].tree, &mut |path| {
            if let Some(ASTNode::Stmt(Stmt::Import(it, _))) = path.last() {
                let tries = |it: &ASTNode<'_>| matches!(it, ASTNode::Stmt(Stmt::TryCatch(..)));
                let named = constant(&it.0).map(str::to_owned);
                let is_tried = path.iter().any(tries);
                imports.push((named, it.0.position(), it.1.name.to_string(), is_tried));
            }
        });
        for (named, place, alias, is_tried) in imports {
            let module = match named.map(|it| self.module(engine, at, &it)) {
                Some(Ok(module)) => module,
                Some(Err(_)) if is_tried => None,
                Some(Err((why, near))) => {
                    let refusal = hinted(self.files[at].page().refuse(place, &why), near);
                    keep(self.found_in(at), Some((place, refusal)));
                    None
                }
                None => None,
            };
            self.call(alias, module);
        }
    }

    /// What a file means by `import "path"`; nothing if that does not compile.
    ///
    /// # Errors
    /// Why there is none, and what may be meant.
    fn module(
        &mut self,
        engine: &Engine,
        at: usize,
        path: &str,
    ) -> Result<Option<Counts>, (String, Option<String>)> {
        let bundled = zinit_stdlib::SCRIPT;
        if let Some(it) = bundled.iter().find(|it| it.name() == path) {
            return Ok(engine.compile(it.source).ok().map(|it| exported(&it)));
        }
        let file = beside(self.files[at].path.to_str(), path);
        self.open(engine, &file).map_err(|it| {
            let near = nearest(path, bundled.iter().map(|it| it.name()));
            (it.message, near.map(str::to_owned))
        })?;
        let file = self.files.iter().find(|it| it.path == file);
        Ok(file.map(|it| exported(&it.tree)))
    }

    /// Gives a module a name.
    fn call(&mut self, name: String, module: Option<Counts>) {
        self.guesses |= module.is_none();
        match module {
            Some(it) if self.modules.get(&name).is_none_or(|other| *other == it) => {
                self.modules.insert(name, it);
            }
            _ => drop(self.open.insert(name)),
        }
    }

    /// What all files bring with them.
    fn learn(&mut self, words: &Words) {
        for (name, counts) in &words.modules {
            self.call(name.clone(), Some(counts.clone()));
        }
        self.modules.retain(|name, _| !self.open.contains(name));
        for File { tree, .. } in &self.files {
            self.known.learn_all(tree);
            for (name, counts) in own(tree) {
                self.own.entry(name).or_default().extend(counts);
            }
            walk(tree, &mut |path| {
                if let Some((call, _)) = called(path) {
                    self.evals |= call.name == "eval" && call.namespace.is_empty();
                    self.lends |= call.capture_parent_scope;
                }
            });
        }
    }

    /// What is wrong in a file.
    fn look_through(&self, words: &Words, at: usize) -> Found {
        let (mut found, file) = (Found::new(), &self.files[at]);
        let (known, own, modules) = (&self.known, &self.own, &self.modules);
        let calls = Calls { page: file.page(), words, known, own, modules };
        let outside = file.tree.clone_statements_only();
        let globals = declared(&outside);
        let sees_args = at == 0;
        let part = |kind| Part { book: self, calls, globals: &globals, sees_args, kind };
        let outer = part(Of::Outside);
        walk(&outside, &mut |path| outer.at(path, &globals, &mut found));
        for function in file.tree.iter_functions() {
            let of = if is_name(function.name) { Of::Function } else { Of::Closure };
            let body = body(&file.tree, &function);
            let mut names = declared(&body);
            names.extend(function.params.iter().map(|it| (*it).to_owned()));
            let inner = part(of);
            walk(&body, &mut |path| inner.at(path, &names, &mut found));
        }
        found
    }
}

impl File {
    fn page(&self) -> Page<'_> {
        Page { path: &self.path, text: &self.text }
    }
}

/// The variables that are declared somewhere in a part of a script.
fn declared(tree: &AST) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    walk(tree, &mut |path| match path.last() {
        // What a closure has from around it may be declared nowhere.
        Some(ASTNode::Stmt(Stmt::Share(_) | Stmt::Assignment(_))) => {}
        Some(ASTNode::Stmt(it)) => names.extend(names_of(it)),
        _ => {}
    });
    names
}

/// What a part of a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// What stands outside of functions.
    Outside,
    /// A function: it sees no variables but its own.
    Function,
    /// A closure: what it has from around it is told where it is made.
    Closure,
}

/// A look at a part of a file.
struct Part<'a> {
    book: &'a Book,
    calls: Calls<'a>,
    /// The variables outside of functions.
    globals: &'a BTreeSet<String>,
    sees_args: bool,
    kind: Of,
}

impl Part<'_> {
    fn at(&self, path: &[ASTNode<'_>], names: &BTreeSet<String>, found: &mut Found) {
        let is_qualified = called(path).is_some_and(|(call, _)| !call.namespace.is_empty());
        if is_qualified || !self.book.evals {
            keep(found, self.calls.at_call(path));
        }
        if self.book.evals {
            return;
        }
        keep(found, self.at_module(path));
        keep(found, self.at_variable(path, names));
        // The methods of a module are there for all files.
        if !self.book.guesses {
            keep(found, self.calls.at_method(path));
        }
    }

    /// A function in a module that is imported nowhere.
    fn at_module(&self, path: &[ASTNode<'_>]) -> Option<(Position, Refusal)> {
        let (call, _) = called(path).filter(|(call, _)| !call.namespace.is_empty())?;
        let (name, modules) = (call.namespace.root(), &self.book.modules);
        if name == "global" || modules.contains_key(name) || self.book.open.contains(name) {
            return None;
        }
        let at = call.namespace.position();
        let refusal = self.calls.page.refuse(at, &format!("there is no module `{name}`"));
        let bundled = zinit_stdlib::SCRIPT.iter().find(|it| it.stem() == name);
        Some((
            at,
            match bundled {
                Some(it) => {
                    refusal.hint(format!("`import \"{}\" as {name};` brings it", it.name()))
                }
                None => {
                    let near = nearest(name, modules.keys().map(String::as_str));
                    hinted(refusal, near.map(str::to_owned))
                }
            },
        ))
    }

    /// A variable that is not there.
    fn at_variable(
        &self,
        path: &[ASTNode<'_>],
        names: &BTreeSet<String>,
    ) -> Option<(Position, Refusal)> {
        let Some(ASTNode::Expr(Expr::Variable(it, index, at))) = path.last() else { return None };
        // The parser has found it, or it is in a module.
        if index.is_some() || it.0.is_some() || !it.2.is_empty() {
            return None;
        }
        let (name, book) = (it.1.as_str(), self.book);
        let is_function = book.own.contains_key(name) || book.known.doubted.contains(name);
        let is_seen = match self.kind {
            Of::Outside => self.sees_args && name == ARGS,
            Of::Function => book.lends,
            Of::Closure => true,
        };
        if is_function || is_seen {
            return None;
        }
        let refusal = self.calls.page.refuse(*at, &format!("there is no variable `{name}`"));
        Some((*at, self.explained(refusal, name, names)))
    }

    fn explained(&self, refusal: Refusal, name: &str, names: &BTreeSet<String>) -> Refusal {
        let is_outside = self.globals.contains(name) || self.sees_args && name == ARGS;
        if names.contains(name) {
            refusal.hint("it is declared further down, or in another block")
        } else if self.kind == Of::Function && is_outside {
            refusal.hint(
                "a function sees its parameters and its own variables, and nothing outside of it",
            )
        } else {
            hinted(refusal, nearest(name, names.iter().map(String::as_str)).map(str::to_owned))
        }
    }
}

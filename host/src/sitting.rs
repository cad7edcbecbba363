//! A script in the making: one text after the other on one engine, each with what the ones before it
//! left.
//!
//! Variables, functions and imports stay, also after a text that failed half-way. Nothing else does.

use std::path::Path;
use std::rc::Rc;

use rhai::{AST, Dynamic, Engine, EvalAltResult, Expr, FnPtr, FuncArgs, Position, Scope, Stmt};

use crate::engine::{self, Words};
use crate::modules::Modules;
use crate::native::Session;
use crate::script::{Around, Ended, Text, failed, without_shebang};

/// What messages call a text that was said.
pub const INPUT: &str = "input";

/// Somebody's work with one engine.
pub struct Sitting {
    session: Rc<Session>,
    engine: Engine,
    modules: Modules,
    scope: Scope<'static>,
    /// The functions of all texts so far.
    before: AST,
    texts: Vec<Text>,
    count: usize,
    done: String,
}

/// How a text ended.
#[derive(Clone, Debug)]
pub enum Came {
    /// To its end, with this value.
    To(Dynamic),
    /// To an end before that.
    Short(Ended),
}

/// A variable that a text has left.
#[derive(Clone, Copy, Debug)]
pub struct Variable<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it can be given no other value.
    pub is_constant: bool,
    /// Its value.
    pub value: &'a Dynamic,
}

impl Sitting {
    /// A sitting in which nothing has been said. Needs a deep stack
    /// ([`on_deep_stack`](engine::on_deep_stack)).
    pub fn new(session: &Rc<Session>, args: &[String]) -> Self {
        let modules = Modules::default();
        let engine = engine::script_with(session, Words::All, &modules);
        let mut scope = Scope::new();
        let args: rhai::Array = args.iter().map(|it| it.clone().into()).collect();
        scope.push_constant("args", args);
        Self {
            session: Rc::clone(session),
            engine,
            modules,
            scope,
            before: AST::empty(),
            texts: Vec::new(),
            count: 0,
            done: String::new(),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The functions that were defined, without their texts and without closures.
    pub fn functions(&self) -> impl Iterator<Item = rhai::ScriptFnMetadata<'_>> {
        self.before.iter_functions().filter(|it| !it.name.contains('$'))
    }

    /// The texts that defined them, the newest last.
    pub fn texts(&self) -> &[Text] {
        &self.texts
    }

    /// The variables that there are, in the order in which they came.
    pub fn variables(&self) -> Vec<Variable<'_>> {
        // `iter_raw` begins with the newest one.
        let all = self.scope.iter_raw();
        let all = all.map(|(name, is_constant, value)| Variable { name, is_constant, value });
        let mut all: Vec<_> = all.collect();
        all.reverse();
        all
    }

    /// What a function answers: the one that was defined here, or else the bundled one of that name.
    /// Nothing if there is none, or it fails.
    pub fn ask(&self, name: &str, args: impl FuncArgs) -> Option<Dynamic> {
        FnPtr::new(name).ok()?.call(&self.engine, &self.before, args).ok()
    }

    /// What of the last text was done: all of it, or what stands before the statement that failed, if
    /// that is known.
    pub fn done(&self) -> &str {
        &self.done
    }

    /// Runs a text that was said; `import` looks in the working directory.
    pub fn run(&mut self, text: &str) -> Came {
        self.count += 1;
        // Each has a name of its own, by which a later mistake in a function of it is told.
        let name = format!("{INPUT} {}", self.count);
        self.run_as(&name, text)
    }

    /// Runs the text of a file; `import` looks beside that.
    pub fn run_file(&mut self, path: &Path, text: &str) -> Came {
        self.run_as(&path.to_string_lossy(), text)
    }

    fn run_as(&mut self, name: &str, text: &str) -> Came {
        let text = without_shebang(text);
        self.done.clear();
        let mut ast = match self.engine.compile(text) {
            Ok(ast) => ast,
            Err(error) => {
                let error = EvalAltResult::ErrorParsing(*error.0, error.1);
                return Came::Short(self.failed(error, name, text, &self.before));
            }
        };
        ast.set_source(name);
        let mut whole = self.before.merge(&ast);
        whole.set_source(name);
        let result = self.engine.eval_ast_with_scope::<Dynamic>(&mut self.scope, &whole);
        self.keep(&ast, name, text);
        match result {
            _ if self.session.interrupt().is_raised() => Came::Short(Ended::Interrupted),
            _ if self.session.is_output_gone() => Came::Short(Ended::Exited(0)),
            Ok(value) => {
                text.clone_into(&mut self.done);
                Came::To(value)
            }
            Err(error) => {
                before(&ast, text, error.position()).clone_into(&mut self.done);
                Came::Short(self.failed(*error, name, text, &whole))
            }
        }
    }

    fn failed(&self, error: EvalAltResult, name: &str, text: &str, tree: &AST) -> Ended {
        let Self { engine, scope, texts, .. } = self;
        match failed(error, &Around { name, text, engine, scope, tree, texts }) {
            Ended::Failed(it) if it.data.get("path").is_some_and(|it| it == name) => {
                let is_said = name == format!("{INPUT} {}", self.count);
                Ended::Failed(if is_said { it.with("path", INPUT) } else { it })
            }
            other => other,
        }
    }

    /// What a text has left for the next one.
    fn keep(&mut self, ast: &AST, name: &str, text: &str) {
        let functions: Vec<String> = ast.iter_functions().map(|it| it.name.to_owned()).collect();
        if !functions.is_empty() {
            let (name, text) = (name.to_owned(), text.to_owned());
            self.texts.retain(|it| it.text != text);
            self.texts.push(Text { name, text, functions });
            self.before.combine(ast.clone_functions_only());
        }
        for (path, alias) in ast.statements().iter().filter_map(import) {
            if let Some(module) = self.modules.found(Some(name), &path) {
                self.engine.register_static_module(alias, module);
            }
        }
        self.forget_the_hidden();
    }

    /// A variable that was declared again hides the one before it.
    fn forget_the_hidden(&mut self) {
        // `iter_raw` begins with the newest one.
        let all: Vec<_> = self.scope.iter_raw().collect();
        let is_hidden = |at: usize| all[..at].iter().any(|it| it.0 == all[at].0);
        if !(0..all.len()).any(is_hidden) {
            return;
        }
        let mut scope = Scope::new();
        for at in (0..all.len()).rev().filter(|at| !is_hidden(*at)) {
            let (name, is_constant, value) = all[at];
            if is_constant {
                scope.push_constant_dynamic(name.to_owned(), value.clone());
            } else {
                scope.push_dynamic(name.to_owned(), value.clone());
            }
        }
        self.scope = scope;
    }
}

/// The path and the alias of an import, where they are known.
fn import(statement: &Stmt) -> Option<(String, String)> {
    let Stmt::Import(it, _) = statement else { return None };
    let (Expr::StringConstant(path, _), alias) = (&it.0, it.1.as_str()) else { return None };
    (!alias.is_empty()).then(|| (path.to_string(), alias.to_owned()))
}

/// What of a text stands before the statement in which this position is.
fn before<'a>(ast: &AST, text: &'a str, at: Position) -> &'a str {
    let place = |it: Position| Some((it.line()?, it.position().unwrap_or(0)));
    let Some(at) = place(at) else { return "" };
    let mut begins = ast.statements().iter().filter_map(|it| place(it.position()));
    let Some((line, column)) = begins.rfind(|it| *it <= at) else { return "" };
    let above: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let letters = text[above..].char_indices().nth(column.saturating_sub(1));
    &text[..above + letters.map_or(0, |it| it.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupt::Interrupt;
    use std::path::Path;

    fn sitting() -> Sitting {
        let interrupt = Interrupt::new().expect("a descriptor");
        Sitting::new(&Session::new(Path::new("/no/socket"), &interrupt), &[])
    }

    fn value(sitting: &mut Sitting, text: &str) -> String {
        match sitting.run(text) {
            Came::To(value) => value.to_string(),
            Came::Short(Ended::Failed(it)) => it.message,
            Came::Short(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn what_a_text_leaves_is_there_for_the_next_one() {
        let mut it = sitting();
        value(&mut it, "let x = 20; fn twice(a) { a * 2 } let f = |a| a + x;");
        assert_eq!(value(&mut it, "twice(x) + f.call(1)"), "61");
        value(&mut it, "x += 1; let x = x * 10; import \"zinit/wait\" as wait;");
        assert_eq!(value(&mut it, "x"), "210");
        assert_eq!(it.variables().iter().filter(|it| it.name == "x").count(), 1);
        assert!(value(&mut it, "wait::wait_up(1)").contains("wait::wait_up"), "it is imported");
        assert!(value(&mut it, "wait::wait_up(\"a\", 1)").contains("no server"));
    }

    #[test]
    fn a_text_that_fails_half_way_takes_nothing_with_it() {
        let mut it = sitting();
        assert_eq!(
            value(&mut it, "let a = 1; let b = nothing; let c = 2;"),
            "there is no variable `nothing`"
        );
        assert_eq!(value(&mut it, "a"), "1");
        assert_eq!(value(&mut it, "c"), "there is no variable `c`");
        assert!(value(&mut it, "let = 1").contains("syntax error"));
        assert_eq!(value(&mut it, "{ let a = 9; throw 1 }"), "1");
        assert_eq!(value(&mut it, "a"), "1");
    }

    #[test]
    fn what_cannot_be_imported_is_forgotten_and_what_was_stays() {
        let dir = std::env::temp_dir().join(format!("zinit-sitting-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("it is writable");
        let write =
            |name: &str, text: &str| std::fs::write(dir.join(name), text).expect("likewise");
        write("lib.rhai", "import \"near\" as near; fn of(a) { a + near::one() }");
        write("near.rhai", "fn one() { 1 }");
        let mut it = sitting();
        assert!(value(&mut it, "import \"nosuch\" as n;").contains("there is no file nosuch.rhai"));
        assert_eq!(value(&mut it, "1 + 1"), "2");
        let text = "import \"near\" as near; fn two() { near::one() + 1 } let x = near::one();";
        assert!(matches!(it.run_file(&dir.join("main.rhai"), text), Came::To(_)));
        assert_eq!(value(&mut it, "near::one() + x"), "2");
        assert!(value(&mut it, "near::one() + nothing").contains("nothing"));
        assert_eq!(value(&mut it, "near::one()"), "1");
        // What is in a file is looked at again when it has changed, and somebody imports it.
        write("near.rhai", "fn one() { 41 }");
        let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(99);
        let file = std::fs::File::options().write(true).open(dir.join("near.rhai"));
        file.and_then(|it| it.set_modified(later)).expect("it is ours");
        let again =
            format!("import {:?} as near; near::one()", dir.join("near").display().to_string());
        assert_eq!(value(&mut it, &again), "41");
        assert_eq!(value(&mut it, "near::one()"), "41");
        std::fs::remove_dir_all(dir).expect("it is there");
    }

    #[test]
    fn what_was_done_of_a_text_is_known() {
        let mut it = sitting();
        let mut done = |text: &str| {
            it.run(text);
            it.done().to_owned()
        };
        assert_eq!(done("let a = 1; let b = 2"), "let a = 1; let b = 2");
        assert_eq!(done("let c = 1;\nlet d = [\n c, nothing];\nlet e = 1"), "let c = 1;\n");
        assert_eq!(done("nothing"), "");
        assert_eq!(done("let ="), "");
        assert_eq!(done("fn f() { throw 1 } let g = 1; f()"), "fn f() { throw 1 } let g = 1; ");
    }

    #[test]
    fn a_mistake_is_told_where_it_stands() {
        let mut it = sitting();
        let mut place = |text: &str| match it.run(text) {
            Came::Short(Ended::Failed(it)) => {
                let fact = |key: &str| it.data.get(key).map(|it| it.to_string().replace('"', ""));
                ["path", "line", "source"].map(|it| fact(it).unwrap_or_default()).join("|")
            }
            other => format!("{other:?}"),
        };
        assert!(place("fn f(x) {\n  x.nosuch()\n}").contains("To("));
        assert_eq!(place("let a = 1;\nf(a)"), "input 1|2|  x.nosuch()");
        assert_eq!(place("let b = 1;\nb.nosuch()"), "input|2|b.nosuch()");
        assert_eq!(place("let = 1"), "input|1|let = 1");
    }

    #[test]
    fn a_function_can_be_defined_again() {
        let mut it = sitting();
        value(&mut it, "fn f() { 1 }");
        value(&mut it, "fn f() { 2 }");
        assert_eq!(value(&mut it, "f()"), "2");
        assert_eq!(it.functions().count(), 1);
    }

    #[test]
    fn a_function_is_asked_whether_it_was_defined_here_or_is_bundled() {
        let mut it = sitting();
        let told = |it: &Sitting| it.ask("is_dir", ("/",)).map(|it| it.to_string());
        assert_eq!(told(&it).as_deref(), Some("true"));
        value(&mut it, "fn is_dir(path) { path + \"?\" }");
        assert_eq!(told(&it).as_deref(), Some("/?"));
        value(&mut it, "fn is_dir(path) { throw path }");
        assert_eq!(told(&it), None);
        assert!(it.ask("no_such_function", ()).is_none());
    }

    #[test]
    fn the_end_of_a_text_is_no_end_of_the_sitting() {
        let mut it = sitting();
        assert_eq!(value(&mut it, "let n = 1; exit(3)"), "Exited(3)");
        assert_eq!(value(&mut it, "n"), "1");
    }
}

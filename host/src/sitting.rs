//! A script in the making: one text after the other on one engine, each with what the ones before it
//! left.
//!
//! Variables, functions and imports stay, also after a text that failed half-way. Nothing else does.

use std::rc::Rc;

use rhai::{AST, Dynamic, Engine, EvalAltResult, Expr, FnPtr, FuncArgs, Scope, Stmt};

use crate::engine::{self, Words};
use crate::native::Session;
use crate::script::{Around, Ended, failed, without_shebang};

/// Somebody's work with one engine.
pub struct Sitting {
    session: Rc<Session>,
    engine: Engine,
    scope: Scope<'static>,
    /// The functions and imports of all texts so far.
    before: AST,
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
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Whether it can be given another value.
    pub is_constant: bool,
    /// Its value.
    pub value: Dynamic,
}

impl Sitting {
    /// A sitting in which nothing has been said. Needs a deep stack
    /// ([`on_deep_stack`](engine::on_deep_stack)).
    pub fn new(session: &Rc<Session>, args: &[String]) -> Self {
        let engine = engine::script(session, Words::All);
        let mut scope = Scope::new();
        let args: rhai::Array = args.iter().map(|it| it.clone().into()).collect();
        scope.push_constant("args", args);
        Self { session: Rc::clone(session), engine, scope, before: AST::empty() }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The functions that were defined, without their texts.
    pub fn functions(&self) -> impl Iterator<Item = rhai::ScriptFnMetadata<'_>> {
        self.before.iter_functions()
    }

    /// The variables that there are, in the order in which they came.
    pub fn variables(&self) -> Vec<Variable> {
        let variable = |(name, is_constant, value): (&str, bool, Dynamic)| Variable {
            name: name.to_owned(),
            is_constant,
            value,
        };
        self.scope.iter().map(variable).collect()
    }

    /// Gives a variable a value.
    pub fn set(&mut self, name: &str, value: Dynamic) {
        self.scope.set_value(name, value);
    }

    /// What a function answers: the one that was defined here, or else the bundled one of that name.
    /// Nothing if there is none, or it fails.
    pub fn ask(&self, name: &str, args: impl FuncArgs) -> Option<Dynamic> {
        FnPtr::new(name).ok()?.call(&self.engine, &self.before, args).ok()
    }

    /// Runs a text, which messages call `name`; `import` looks beside it.
    pub fn run(&mut self, name: &str, text: &str) -> Came {
        let text = without_shebang(text);
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
        self.keep(&ast);
        match result {
            _ if self.session.interrupt().is_raised() => Came::Short(Ended::Interrupted),
            _ if self.session.is_output_gone() => Came::Short(Ended::Exited(0)),
            Ok(value) => Came::To(value),
            Err(error) => Came::Short(self.failed(*error, name, text, &whole)),
        }
    }

    fn failed(&self, error: EvalAltResult, name: &str, text: &str, tree: &AST) -> Ended {
        let Self { engine, scope, .. } = self;
        failed(error, &Around { name, text, engine, scope, tree })
    }

    /// What a text has left for the next one.
    fn keep(&mut self, ast: &AST) {
        let functions = ast.clone_functions_only();
        let imports: String = ast.statements().iter().filter_map(import).collect();
        let imports = self.engine.compile(imports).unwrap_or_default();
        self.before = self.before.merge(&imports).merge(&functions);
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

/// An import by a text that is known, once more.
fn import(statement: &Stmt) -> Option<String> {
    let Stmt::Import(it, _) = statement else { return None };
    let (Expr::StringConstant(path, _), name) = (&it.0, it.1.as_str()) else { return None };
    (!name.is_empty()).then(|| format!("import {path:?} as {name};\n"))
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
        match sitting.run("input", text) {
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

//! What somebody most likely meant who said a word that is not there.

use std::collections::BTreeSet;
use std::path::Path;

use rhai::{AST, Engine, FnPtr, Scope};

use crate::lint::{Known, Words, parameters};
use crate::refusal::{Kind, Refusal, nearest};
use crate::words::{Word, vocabulary};

/// What was there when a script failed.
pub(crate) struct Around<'a> {
    /// What messages call the script.
    pub(crate) name: &'a str,
    /// Its text.
    pub(crate) text: &'a str,
    /// The words that it could say.
    pub(crate) engine: &'a Engine,
    /// The variables that there were outside of functions.
    pub(crate) scope: &'a Scope<'a>,
    /// The functions that it had.
    pub(crate) tree: &'a AST,
    /// The texts before it that have functions, the newest last.
    pub(crate) texts: &'a [Text],
}

/// A text that has functions.
#[derive(Clone, Debug)]
pub struct Text {
    /// What messages call it.
    pub name: String,
    /// The text.
    pub text: String,
    /// The names of its functions.
    pub functions: Vec<String>,
}

impl Around<'_> {
    /// What the text is called that a function stands in.
    pub(super) fn home_of(&self, function: &str) -> Option<String> {
        let has = |it: &&Text| it.functions.iter().any(|it| it == function);
        self.texts.iter().rev().find(has).map(|it| it.name.clone())
    }

    /// A text by its name, if it can be had.
    pub(super) fn text_of(&self, name: &str) -> Option<String> {
        if name == self.name {
            return Some(self.text.to_owned());
        }
        match self.texts.iter().rev().find(|it| it.name == name) {
            Some(it) => Some(it.text.clone()),
            None => super::read(Path::new(name)).ok(),
        }
    }
}

/// A function that is called and is not there: `name (type, type)`, after a dot or not.
pub(super) fn function(signature: &str, is_method: bool, around: &Around<'_>) -> Refusal {
    let (name, types) = signature.split_once(" (").unwrap_or((signature, ")"));
    let types = types.replace("&str | ImmutableString | String", "string");
    let types = types.replace("i64", "int").replace("f64", "float");
    let given: Vec<&str> =
        types.trim_end_matches(')').split(", ").filter(|it| !it.is_empty()).collect();
    let mut known: Vec<Word> = vocabulary(around.engine);
    known.extend(around.tree.iter_functions().map(|it| Word::of_script(&it, "here")));
    let same: Vec<&Word> = known.iter().filter(|it| called(it) == name).collect();
    // What stands before the dot is no parameter for those who call it so.
    let count = given.len() - usize::from(is_method && !given.is_empty());
    let counts: BTreeSet<usize> = same.iter().filter_map(|it| count_of(it, is_method)).collect();
    if let ([one], false) = (&same[..], counts.contains(&count))
        && let Some(wanted) = counts.first()
    {
        let names: Vec<_> = one.params.iter().filter_map(|it| it.split(':').next()).collect();
        let list =
            if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        let said = format!("`{name}` takes {}{list}, and is given {count}", parameters(*wanted));
        return Refusal::new(Kind::Internal, said);
    }
    let refusal = Refusal::new(Kind::Internal, format!("there is no function `{name}({types}`"));
    if !same.is_empty() {
        let all: Vec<_> = same.iter().take(3).map(|it| format!("`{}`", it.signature())).collect();
        return refusal.hint(format!("there is {}", all.join(", ")));
    }
    if !is_method && around.scope.get_value::<FnPtr>(name).is_some() {
        let said = format!("`{name}` is a variable that holds a function: ");
        return refusal.hint(format!("{said}`{name}.call({})` calls it", dots(count)));
    }
    if !name.contains(char::is_alphabetic) {
        // An operator is nothing that somebody misspells.
        return refusal;
    }
    let of = given.first().filter(|_| is_method).copied();
    let fits = |it: &&Word| of.is_some() && it.of.as_deref() == of;
    let near =
        nearest_of(name, known.iter().filter(fits)).or_else(|| nearest_of(name, known.iter()));
    did_you_mean(refusal, near)
}

/// What stands for so many parameters.
fn dots(count: usize) -> &'static str {
    if count == 0 { "" } else { "..." }
}

fn nearest_of<'a>(name: &str, known: impl Iterator<Item = &'a Word>) -> Option<String> {
    let names: Vec<String> = known.map(called).collect();
    nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
}

/// The name under which a function is called.
fn called(it: &Word) -> String {
    if it.module == "host" { format!("host::{}", it.name) } else { it.name.clone() }
}

/// How many parameters it takes when it is called so; nothing if it cannot be.
fn count_of(it: &Word, is_method: bool) -> Option<usize> {
    let count = it.params.len();
    let is_native =
        it.module.starts_with("rhai") || ["zinit", "host"].contains(&it.module.as_str());
    match (&it.of, is_method) {
        (Some(_), true) => Some(count),
        (Some(_), false) => is_native.then_some(count + 1),
        (None, true) if is_native => count.checked_sub(1),
        (None, _) => Some(count),
    }
}

/// A variable that is not there.
pub(super) fn variable(name: &str, around: &Around<'_>) -> Refusal {
    let refusal = Refusal::new(Kind::Internal, format!("there is no variable `{name}`"));
    let outer = around.scope.iter_raw().map(|it| it.0.to_owned()).collect::<Vec<_>>();
    if outer.iter().any(|it| it == name) {
        return refusal.hint(
            "a function sees its parameters and its own variables, and nothing outside of it",
        );
    }
    let own = around.tree.iter_functions().map(|it| Word::of_script(&it, "here"));
    if let Some(it) = own.chain(vocabulary(around.engine)).find(|it| it.name == name) {
        return refusal.hint(format!("there is a function: `{}`", it.signature()));
    }
    let inner = Known::of(around.tree).holders;
    if inner.contains(name) {
        return refusal.hint(format!("`let {name} = ...` makes one"));
    }
    let known = outer.iter().chain(&inner).map(String::as_str);
    did_you_mean(refusal, nearest(name, known).map(str::to_owned))
}

/// A property that a value has not: what Rhai says of it, as it is.
pub(super) fn property(said: &str, around: &Around<'_>) -> Option<Refusal> {
    let mut quoted = said.split('\'').skip(1).step_by(2);
    let (name, of) = (quoted.next()?, quoted.next()?);
    if !said.starts_with("Unknown property") {
        return None;
    }
    let refusal = Refusal::new(Kind::Internal, format!("`{of}` has no property `{name}`"));
    let words = vocabulary(around.engine);
    let methods = words.iter().filter(|it| it.of.as_deref() == Some(of));
    let names: Vec<&str> = methods.map(|it| it.name.as_str()).collect();
    if names.contains(&name) {
        return Some(refusal.hint(format!("it is a method: `.{name}(...)`")));
    }
    let properties = Words::of(around.engine).properties;
    let known = properties.iter().map(String::as_str).chain(names);
    Some(did_you_mean(refusal, nearest(name, known).map(str::to_owned)))
}

/// A module that is called and that nothing has imported.
pub(super) fn module(name: &str) -> Refusal {
    let refusal = Refusal::new(Kind::Internal, format!("there is no module `{name}`"));
    let names = || zinit_stdlib::SCRIPT.iter().map(zinit_stdlib::Source::name);
    if let Some(path) = names().find(|it| it.rsplit('/').next() == Some(name)) {
        return refusal.hint(format!("`import \"{path}\" as {name};` brings it"));
    }
    did_you_mean(refusal, nearest(name, names().chain(["host"])).map(str::to_owned))
}

fn did_you_mean(refusal: Refusal, near: Option<String>) -> Refusal {
    match near {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None => refusal,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::engine;
    use crate::interrupt::Interrupt;
    use crate::native::Session;
    use crate::script::Ended;
    use crate::sitting::{Came, Sitting};

    /// What is said of the last of these texts, which fails, and the hint.
    fn said(texts: &[&str]) -> (String, Option<String>) {
        let interrupt = Interrupt::new().expect("a descriptor");
        let session = || Session::new(Path::new("/no/socket"), &interrupt);
        let work = || {
            let mut sitting = Sitting::new(&session(), &[]);
            let came = texts.iter().map(|it| sitting.run(it)).last();
            match came {
                Some(Came::Short(Ended::Failed(it))) => (it.message, it.hint),
                other => panic!("{other:?}"),
            }
        };
        engine::on_deep_stack(work).expect("no panic")
    }

    #[test]
    fn a_variable_that_holds_a_function_is_no_function() {
        let hint = "`f` is a variable that holds a function: `f.call(...)` calls it";
        for texts in [&["let f = |x| x + 1; f(1)"][..], &["let f = |x| x + 1", "f(1)"]] {
            let (message, said) = said(texts);
            assert_eq!(message, "there is no function `f(int)`");
            assert_eq!(said.as_deref(), Some(hint), "{texts:?}");
        }
        let (_, none) = said(&["let nothing = || 1; nothing()"]);
        assert!(none.is_some_and(|it| it.contains("`nothing.call()`")));
        assert_eq!(said(&["let f = 1; f(1)"]).1, None, "no function of one letter is meant");
    }

    #[test]
    fn an_operator_is_nothing_that_was_misspelled() {
        let (message, hint) = said(&["\"x\" - 1"]);
        assert_eq!((message.as_str(), hint), ("there is no function `-(string, int)`", None));
        assert_eq!(said(&["[1] * 2"]).1, None);
    }
}

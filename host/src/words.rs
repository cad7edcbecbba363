//! What is known of the words that scripts are given: their names, parameters and documentation.
//!
//! One definition, many readers: the reference, `/functions`, completion, suggestions in errors, and the
//! tests that execute every example. Nothing here is a list made by hand: bundled functions come from
//! their syntax trees (`returns` tells what they hand out), natives from the metadata that Rhai keeps
//! (`native`).

mod native;
mod returns;

use rhai::{AST, Engine, Position, ScriptFnMetadata};

use native::type_word;

/// A function that scripts can call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its name.
    pub name: String,
    /// The type that it is a method of, if it is one: `array`, `string`, `int`, `Service` and so on.
    pub of: Option<String>,
    /// The names of its parameters, and for natives their types.
    pub params: Vec<String>,
    /// The type of what it returns, where that is known.
    pub returns: Option<String>,
    /// Its documentation, in Markdown.
    pub doc: String,
    /// Where it comes from: `host`, the name of a bundled module, `zinit` for natives of our own,
    /// `rhai-fs` for files; `rhai`, `rhai/math` or `rhai/TYPE` for the standard library.
    pub module: String,
}

impl Word {
    /// A function of a script.
    pub fn of_script(function: &ScriptFnMetadata<'_>, module: &str) -> Self {
        Self {
            name: function.name.to_owned(),
            of: function.this_type.map(str::to_owned),
            params: function.params.iter().map(|it| (*it).to_owned()).collect(),
            returns: None,
            doc: text(function.comments.iter().copied()),
            module: module.to_owned(),
        }
    }

    /// How it is written: `Service.env(key, value)`, `host::tcp(address: string, limit_ms: int)`.
    pub fn signature(&self) -> String {
        let params = self.params.join(", ");
        match &self.of {
            Some(of) => format!("{of}.{}({params})", self.name),
            None if self.module == "host" => format!("host::{}({params})", self.name),
            None => format!("{}({params})", self.name),
        }
    }

    /// Whether it is a method of a record, such as `Service`: a type that bundled modules make of a map.
    pub fn is_of_record(&self) -> bool {
        self.of.is_some() && zinit_stdlib::SCRIPT.iter().any(|it| it.name() == self.module)
    }

    /// The lines of its examples in blocks with this mark (`rhai`, or `rhai,server` for those that
    /// need one). Each evaluates to `true`.
    pub fn examples(&self, mark: &str) -> Vec<String> {
        let mut blocks = self.doc.split("```").skip(1).step_by(2);
        let lines = blocks.find_map(|it| it.strip_prefix(mark)?.strip_prefix('\n'));
        lines.unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// The words that are Zinit's: the primitives of `host::` as this engine has them, and the bundled modules.
pub fn words(engine: &Engine) -> Vec<Word> {
    let mut words = native::primitives(engine);
    let trees = trees(engine);
    let returns = returns::Returns::of(&trees, &words);
    for (module, tree) in &trees {
        // Closures are functions as well, of names that nobody can say.
        let named = tree.iter_functions().filter(|it| !it.name.contains('$'));
        for function in named.filter(|it| it.access.is_public()) {
            let mut word = Word::of_script(&function, module);
            word.returns = returns.find(word.of.as_deref(), &word.name, word.params.len());
            words.push(word);
        }
    }
    words.sort_by_cached_key(Word::signature);
    words
}

/// Every word that a script can say: those of [`words`], the standard library and `rhai-fs`.
///
/// Overloads that differ in nothing but types are one word. Operators and indexers are no words, nor is
/// what can be read as a property and not be called.
pub fn vocabulary(engine: &Engine) -> Vec<Word> {
    let mut words = words(engine);
    words.extend(native::natives(engine));
    words.sort_by_cached_key(Word::signature);
    words
}

/// The first sentence of a documentation, in one line; nothing if it has no text before its examples.
pub fn sentence(doc: &str) -> String {
    let is_head = |it: &&str| it.trim().is_empty() || it.starts_with('#');
    let is_entry = |it: &str| it.starts_with("* ") || it.starts_with("- ");
    let ends = |it: &str| is_head(&it) || it.starts_with("```") || is_entry(it);
    let lines = doc.lines().skip_while(is_head);
    let paragraph = lines.take_while(|it| !ends(it.trim_start()));
    let words = paragraph.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
    let end = words.find(". ").map_or(words.len(), |at| at + 1);
    words[..end].to_owned()
}

/// The bundled modules by name, as this engine has compiled them.
fn trees(engine: &Engine) -> Vec<(&'static str, AST)> {
    let tree = |source: &zinit_stdlib::Source| {
        let resolver = engine.module_resolver();
        let tree = resolver.resolve_ast(engine, None, source.name(), Position::NONE);
        // Another engine than that of scripts keeps none; the test suite sees to it that all compile.
        let tree = tree.map_or_else(|| engine.compile(source.source).ok(), Result::ok);
        tree.map(|it| (source.name(), it))
    };
    zinit_stdlib::SCRIPT.iter().filter_map(tree).collect()
}

/// The text of doc comments, without what marks them as such.
pub(crate) fn text<'a>(comments: impl Iterator<Item = &'a str>) -> String {
    let lines = comments.flat_map(str::lines).map(|it| {
        let it = it.trim_start().trim_start_matches("///");
        it.strip_prefix(' ').unwrap_or(it).trim_end()
    });
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// The parameters of a native as they are declared, without the one that Rhai fills in.
pub(crate) fn params(declared: &[impl AsRef<str>]) -> Vec<String> {
    let all = declared.iter().map(AsRef::as_ref).filter(|it| !it.contains("NativeCallContext"));
    all.map(param).collect()
}

/// `url: &str` as scripts say it: `url: string`; only the name where anything will do.
fn param(declared: &str) -> String {
    let (name, rust) = declared.split_once(':').unwrap_or((declared, ""));
    match type_word(rust).as_str() {
        "?" => name.trim().to_owned(),
        word => format!("{}: {word}", name.trim()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::engine::{self, Words};
    use crate::interrupt::Interrupt;
    use crate::native::Session;

    fn with_words<T: Send>(work: impl FnOnce(Vec<Word>) -> T + Send) -> T {
        let interrupt = Interrupt::new().expect("a descriptor");
        let session = || Session::new(Path::new("/nowhere"), &interrupt);
        let all = || work(vocabulary(&engine::script(&session(), Words::All)));
        engine::on_deep_stack(all).expect("no panic")
    }

    #[track_caller]
    fn find(all: &[Word], signature: &str) -> Word {
        let found = all.iter().find(|it| it.signature() == signature);
        found.unwrap_or_else(|| panic!("there is no {signature}")).clone()
    }

    #[test]
    fn every_function_is_there_and_none_twice() {
        with_words(|all| {
            for (signature, module) in [
                ("host::tcp(address: string, limit_ms: int)", "host"),
                ("new_service(name)", "zinit/builder"),
                ("Service.env(key, value)", "zinit/builder"),
                ("sleep(secs: float | int)", "zinit"),
                ("exit(code: int)", "zinit"),
                ("array.push(item)", "rhai/array"),
                ("string.split(delimiter: char | string)", "rhai/string"),
                ("map.keys()", "rhai/map"),
                ("timestamp()", "rhai"),
                ("abs(x: float | int)", "rhai/math"),
                ("file.read_string()", "rhai-fs"),
                ("cwd()", "rhai-fs"),
            ] {
                assert_eq!(find(&all, signature).module, module, "{signature}");
            }
            let mut signatures: Vec<String> = all.iter().map(Word::signature).collect();
            let count = signatures.len();
            signatures.dedup();
            assert_eq!(signatures.len(), count);
            assert!(count > 300, "only {count}");
        });
    }

    #[test]
    fn no_word_is_an_operator_or_speaks_of_rust() {
        with_words(|all| {
            for it in all {
                let text = format!("{} {:?}", it.signature(), it.returns);
                let is_name = it.name.chars().all(|it| it.is_alphanumeric() || it == '_');
                assert!(is_name, "{text}");
                for rust in
                    ["&", "mut ", "INT", "FLOAT", "Dynamic", "Rhai", "Said", "ImmutableString"]
                {
                    assert!(!text.contains(rust), "{text}");
                }
            }
        });
    }

    #[test]
    fn what_a_function_returns_is_known_where_it_can_be() {
        with_words(|all| {
            for (signature, returns) in [
                ("new_service(name)", Some("Service")),
                ("zinit_service_new()", Some("Service")),
                ("Service.env(key, value)", Some("Service")),
                ("Service.after(names)", Some("Service")),
                ("xinit_proxy_new()", Some("Proxy")),
                ("Proxy.backend(address)", Some("Proxy")),
                ("host::tcp(address: string, limit_ms: int)", Some("bool")),
                ("host::ask(method: string, params)", None),
                ("string.split(delimiter: char | string)", Some("array")),
                ("array.len()", Some("int")),
                ("cwd()", Some("path")),
                ("open_file(path: path | string)", Some("file")),
            ] {
                assert_eq!(find(&all, signature).returns.as_deref(), returns, "{signature}");
            }
        });
    }

    #[test]
    fn records_are_the_types_of_bundled_methods() {
        with_words(|all| {
            let records: BTreeSet<_> =
                all.iter().filter(|it| it.is_of_record()).map(|it| it.of.as_deref()).collect();
            assert_eq!(records, BTreeSet::from([Some("Proxy"), Some("Service")]));
        });
    }

    #[test]
    fn the_first_sentence_is_one_line() {
        assert_eq!(sentence("Does\nthis. And that.\n\nMore."), "Does this.");
        assert_eq!(sentence("Does `a.b`\n```rhai\ntrue\n```"), "Does `a.b`");
        assert_eq!(sentence("\n# Head\n\nDoes this:\n* one. Or\n"), "Does this:");
        assert_eq!([sentence(""), sentence("```rhai\n1\n```")], ["", ""]);
    }
}
